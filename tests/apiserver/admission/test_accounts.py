"""What a Pod gets by its account. Rule: spec "api-machinery" §10.2."""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import Any

import pytest

from seaway.api.pod.defaults import default_pod
from seaway.api.registry import SECRETS, SERVICE_ACCOUNTS
from seaway.apiserver.access.credentials import Credentials
from seaway.apiserver.access.tokensecrets import LIFETIME_SECONDS, plan_token_secrets
from seaway.apiserver.admission.accounts import MOUNT_PATH, admit_pod
from seaway.apiserver.run import ServerConfig, open_server
from seaway.pki.issuer import TokenIssuer
from seaway.pki.tokens import create_signing_key
from seaway.testing.builders import make_pod
from seaway.testing.cluster import open_cluster
from tests.apiserver.conversation import NOON, Conversation, Json, talk

BASE = "/api/v1/namespaces/default"
ACCOUNT: Json = {"metadata": {"name": "default"}}
MOUNT = {"name": "kube-api-access-sufx0", "readOnly": True, "mountPath": MOUNT_PATH}
VOLUME = {
    "name": "kube-api-access-sufx0",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
        "defaultMode": 420,
    },
}


def admit(account: Json | None = ACCOUNT, **spec: Any) -> Json:
    numbers = itertools.count()
    pod = default_pod(make_pod("p", **spec))
    admitted: Json = admit_pod(pod, account, namespace="shop", suffix=lambda: f"sufx{next(numbers)}")["spec"]
    return admitted


def mounts(spec: Json) -> list[list[Json]]:
    return [c.get("volumeMounts", []) for field in ("initContainers", "containers") for c in spec.get(field, ())]


def test_every_container_finds_token_ca_and_namespace() -> None:
    spec = admit(initContainers=[{"name": "i", "image": "x"}], containers=[{"name": "a"}, {"name": "b"}])
    assert spec["volumes"] == [VOLUME] and mounts(spec) == [[MOUNT], [MOUNT], [MOUNT]]


@pytest.mark.parametrize(
    ("account", "pod", "mounted"),
    [
        pytest.param(None, None, True, id="silence is yes"),
        pytest.param(False, None, False, id="the account says no"),
        pytest.param(False, True, True, id="the Pod's yes wins"),
        pytest.param(True, False, False, id="the Pod's no wins"),
    ],
)
def test_who_decides_about_the_mount(account: bool | None, pod: bool | None, mounted: bool) -> None:
    own = ACCOUNT if account is None else {**ACCOUNT, "automountServiceAccountToken": account}
    said = {} if pod is None else {"automountServiceAccountToken": pod}
    assert ("volumes" in admit(own, **said)) is mounted


def test_a_container_that_has_something_there_keeps_it() -> None:
    mine = {"name": "mine", "mountPath": MOUNT_PATH}
    spec = admit(containers=[{"name": "a", "volumeMounts": [mine]}], volumes=[{"name": "mine", "emptyDir": {}}])
    assert mounts(spec) == [[mine]] and [v["name"] for v in spec["volumes"]] == ["mine"]


def test_a_pod_that_was_admitted_once_is_not_given_a_second_volume() -> None:
    once = admit()
    twice = admit(**{key: once[key] for key in ("containers", "volumes")})
    assert twice["volumes"] == once["volumes"] and mounts(twice) == mounts(once)


def test_a_name_that_is_taken_is_not_given() -> None:
    spec = admit(volumes=[{"name": "kube-api-access-sufx0", "emptyDir": {}}])
    assert [volume["name"] for volume in spec["volumes"]] == ["kube-api-access-sufx0", "kube-api-access-sufx1"]


def test_pull_secrets_are_the_accounts_where_the_pod_names_none() -> None:
    account = {**ACCOUNT, "imagePullSecrets": [{"name": "s"}]}
    assert admit(account)["imagePullSecrets"] == [{"name": "s"}]
    assert admit(account, imagePullSecrets=[{"name": "own"}])["imagePullSecrets"] == [{"name": "own"}]


@pytest.mark.parametrize(
    ("names", "shown"),
    [({"name": "p"}, 'pods "p"'), ({"name": "", "generateName": "p-"}, 'pods "p-"')],
    ids=["by name", "by prefix"],
)
def test_a_missing_account_is_refused(names: Json, shown: str) -> None:
    async def conversation(ask: Conversation) -> None:
        pod = make_pod("p", serviceAccountName="robot", meta=names)
        reply = await ask("POST", f"{BASE}/pods", pod)
        assert (reply.status, reply.message) == (
            403,
            f'{shown} is forbidden: error looking up service account default/robot: serviceaccount "robot" not found',
        )

    talk(conversation)


def test_a_mirror_pod_has_no_account() -> None:
    mirror = {"annotations": {"kubernetes.io/config.mirror": "x"}}

    async def conversation(ask: Conversation) -> None:
        await ask("DELETE", f"{BASE}/serviceaccounts/default")
        assert (await ask("POST", f"{BASE}/pods", make_pod("p", meta=mirror, nodeName="n"))).status == 201
        assert (await ask("POST", f"{BASE}/pods", make_pod("q"))).status == 403

    talk(conversation)


ENFORCED = {
    "metadata": {"name": "default", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
    "secrets": [{"name": "mine"}],
}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, 'volume with secret.secretName="s"'),
        ({"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}]},
         'container c with envFrom referencing secret.secretName="s"'),
        ({"initContainers": [{"name": "c", "env": [{"name": "e", "valueFrom": {"secretKeyRef": {"name": "s"}}}]}]},
         'initContainer c with envVar e referencing secret.secretName="s"'),
        ({"imagePullSecrets": [{"name": "s"}]}, 'imagePullSecret with name "s"'),
    ],
)  # fmt: skip
def test_an_account_that_names_its_secrets_lets_no_others_be_mounted(spec: Json, why: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("PUT", f"{BASE}/serviceaccounts/default", ENFORCED)
        reply = await ask("POST", f"{BASE}/pods", make_pod("p", **spec))
        assert reply.status == 403 and f"{why} is not allowed because service account default" in reply.message
        fine = {"volumes": [{"name": "v", "secret": {"secretName": "mine"}}]}
        assert (await ask("POST", f"{BASE}/pods", make_pod("p", **fine))).status == 201

    talk(conversation)


# Secrets that hold a token

WANTS = {
    "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "robot"}},
    "type": "kubernetes.io/service-account-token",
}


def plan(ask: Conversation) -> list[tuple[str, Json | None]]:
    state = ask.server.state
    writes = plan_token_secrets(
        state.watch_cache.cache(SECRETS).select(), state.find, state.authenticator.issuer,
        ca_pem="CA", new_jti=lambda: "1", wall_now=NOON,
    )  # fmt: skip
    return [(write.name, write.obj) for write in writes]


def test_a_secret_is_filled_with_token_ca_and_namespace_once_its_account_is_there() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{BASE}/secrets", WANTS)
        assert plan(ask) == [], "the account may come later"
        account = await ask("POST", f"{BASE}/serviceaccounts", {"metadata": {"name": "robot"}})
        [(name, filled)] = plan(ask)
        assert name == "t" and filled is not None
        data = {key: base64.b64decode(value).decode() for key, value in filled["data"].items()}
        assert (data["ca.crt"], data["namespace"]) == ("CA", "default")
        assert filled["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == account.body["metadata"]["uid"]
        assert (await ask("PUT", f"{BASE}/secrets/t", filled)).status == 200
        assert plan(ask) == []
        identity = ask.server.find_identity(data["token"])
        assert identity is not None and identity.user == "system:serviceaccount:default:robot"
        claims = ask.server.state.authenticator.issuer.verify(
            data["token"], audiences=["https://kubernetes.default.svc"], wall_now=NOON
        )
        assert claims["exp"] - claims["iat"] == LIFETIME_SECONDS
        await ask("DELETE", f"{BASE}/secrets/t")
        assert ask.server.find_identity(data["token"]) is None, "deleting the Secret revokes its token"

    talk(conversation)


@pytest.mark.parametrize("comes_back", [False, True], ids=["gone", "another of that name"])
def test_a_filled_secret_ends_with_its_account(comes_back: bool) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{BASE}/serviceaccounts", {"metadata": {"name": "robot"}})
        await ask("POST", f"{BASE}/secrets", WANTS)
        [(_, filled)] = plan(ask)
        await ask("PUT", f"{BASE}/secrets/t", filled)
        await ask("DELETE", f"{BASE}/serviceaccounts/robot")
        if comes_back:
            await ask("POST", f"{BASE}/serviceaccounts", {"metadata": {"name": "robot"}})
        assert plan(ask) == [("t", None)]

    talk(conversation)


def test_the_servers_loop_fills_and_removes() -> None:
    async def run() -> None:
        async with open_cluster() as cluster:
            client = cluster.client()
            await client.create(SECRETS, WANTS, "default")
            await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "robot"}}, "default")

            async def look() -> bool:
                return "token" in ((await client.get(SECRETS, "t", "default", as_type=dict)).get("data") or {})

            await cluster.eventually(look)
            await client.delete(SERVICE_ACCOUNTS, "robot", "default")

            async def look_again() -> bool:
                return not (await client.list(SECRETS, "default")).items

            await cluster.eventually(look_again)

    asyncio.run(run())


def test_a_namespace_is_born_with_the_ca_that_the_server_has() -> None:
    credentials = Credentials(issuer=TokenIssuer(create_signing_key()), root_ca_pem="PEM")

    async def conversation(ask: Conversation) -> None:
        for namespace in ("default", "kube-system"):
            found = await ask("GET", f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")
            assert found.body["data"] == {"ca.crt": "PEM"}

    talk(conversation, credentials=credentials)


def test_a_store_from_before_gets_what_its_namespaces_lack() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("DELETE", f"{BASE}/serviceaccounts/default")
        again = await open_server(ServerConfig(), ask.server.state.store, effects=ask.effects, runs_loops=False)
        assert again.state.find(SERVICE_ACCOUNTS, "default", "default") is not None
        await again.close()

    talk(conversation)
