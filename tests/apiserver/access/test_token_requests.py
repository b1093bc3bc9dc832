"""Tokens of service accounts, from the request to the last use. Rule: spec "api-machinery" §10.1, §10.3."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.accounttokens import EXTENDED_SECONDS
from seaway.pki.issuer import DEFAULT_ISSUER
from seaway.testing.builders import make_pod
from tests.apiserver.conversation import NOON, Conversation, Json, Reply, talk

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
PODS = "/api/v1/namespaces/default/pods"
SECRETS = "/api/v1/namespaces/default/secrets"
NODES = "/api/v1/nodes"
TOKEN = f"{ACCOUNTS}/default/token"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
AUTHENTICATION = "authentication.kubernetes.io"


def request(**spec: Any) -> Json:
    return {"spec": spec}


def bound(kind: str, name: str, uid: str = "") -> Json:
    return {"kind": kind, "apiVersion": "v1", "name": name, **({"uid": uid} if uid else {})}


def read_claims(reply: Reply) -> Json:
    assert reply.status == 201, reply.body
    claims: Json = jwt.decode(reply.body["status"]["token"], options={"verify_signature": False})
    return claims


async def find_identity(ask: Conversation, reply: Reply) -> Identity | None:
    return ask.server.find_identity(reply.body["status"]["token"])


def test_a_token_says_who_for_whom_and_until_when() -> None:
    async def conversation(ask: Conversation) -> None:
        account = (await ask("GET", f"{ACCOUNTS}/default")).body["metadata"]
        reply = await ask("POST", TOKEN, {})
        claims = read_claims(reply)
        noon = int(NOON.timestamp())
        assert (claims["iss"], claims["aud"]) == (DEFAULT_ISSUER, [DEFAULT_ISSUER])
        assert claims["sub"] == "system:serviceaccount:default:default"
        assert (claims["iat"], claims["nbf"], claims["exp"]) == (noon, noon, noon + 3600)
        assert claims["kubernetes.io"] == {
            "namespace": "default",
            "serviceaccount": {"name": "default", "uid": account["uid"]},
        }
        assert claims["jti"]
        meta = reply.body["metadata"]
        assert (meta["name"], meta["namespace"], meta["uid"]) == ("default", "default", account["uid"])
        assert reply.body["spec"] == {"audiences": [DEFAULT_ISSUER], "expirationSeconds": 3600}
        assert reply.body["status"]["expirationTimestamp"] == "2026-01-02T13:00:00Z"

    talk(conversation)


def test_the_identity_has_the_accounts_groups_and_the_tokens_number() -> None:
    async def conversation(ask: Conversation) -> None:
        reply = await ask("POST", TOKEN, {})
        identity = await find_identity(ask, reply)
        assert identity is not None
        assert identity.user == "system:serviceaccount:default:default"
        assert identity.uid == reply.body["metadata"]["uid"]
        assert identity.groups == (
            "system:authenticated",
            "system:serviceaccounts",
            "system:serviceaccounts:default",
        )
        assert identity.extra == ((f"{AUTHENTICATION}/credential-id", (f"JTI={read_claims(reply)['jti']}",)),)

    talk(conversation)


FOO = {"kind": "Foo", "apiVersion": "v1", "name": "x"}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        pytest.param(
            request(expirationSeconds=599), 422,
            'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not '
            "specify a duration less than 10 minutes",
            id="less than ten minutes",
        ),
        pytest.param(
            request(expirationSeconds=2**32 + 1), 422,
            'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 4294967297: may '
            "not specify a duration larger than 2^32 seconds",
            id="more than 2^32 seconds",
        ),
        pytest.param(
            request(boundObjectRef=FOO), 400, "cannot bind token to object of type /v1, Kind=Foo", id="another kind"
        ),
        pytest.param(
            request(boundObjectRef={**FOO, "apiVersion": "apps/v1"}), 400,
            "cannot bind token to object of type apps/v1, Kind=Foo", id="another group",
        ),
        pytest.param(request(boundObjectRef=bound("Pod", "no")), 404, 'pods "no" not found', id="no such Pod"),
        pytest.param(request(boundObjectRef=bound("Secret", "no")), 404, 'secrets "no" not found', id="no such Secret"),
        pytest.param(request(boundObjectRef=bound("Node", "no")), 404, 'nodes "no" not found', id="no such Node"),
        pytest.param(
            request(boundObjectRef=bound("Pod", "p", "other")), 409,
            'Operation cannot be fulfilled on Pod "p": the UID in the bound object reference (other) does not match '
            "the UID in record. The object might have been deleted and then recreated",
            id="another UID",
        ),
        pytest.param(
            request(boundObjectRef=bound("Pod", "robot")), 400,
            'cannot bind token for serviceaccount "default" to pod running with different serviceaccount name.',
            id="a Pod of another account",
        ),
        pytest.param(
            {"metadata": {"name": "x"}}, 400,
            "the name of the object (x) does not match the name on the URL (default)", id="another name",
        ),
        pytest.param(
            {"metadata": {"namespace": "x"}}, 400,
            "the namespace of the provided object does not match the namespace sent on the request",
            id="another namespace",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(body: Json, status: int, message: str) -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", ACCOUNTS, {"metadata": {"name": "robot"}})
        await ask("POST", PODS, make_pod("p"))
        await ask("POST", PODS, make_pod("robot", serviceAccountName="robot"))
        reply = await ask("POST", TOKEN, body)
        assert (reply.status, reply.message) == (status, message)

    talk(conversation)


def test_no_account_no_token() -> None:
    async def conversation(ask: Conversation) -> None:
        reply = await ask("POST", f"{ACCOUNTS}/no/token", {})
        assert (reply.status, reply.message) == (404, 'serviceaccounts "no" not found')

    talk(conversation)


def test_only_a_post_asks_for_a_token() -> None:
    async def conversation(ask: Conversation) -> None:
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            assert (await ask(method, TOKEN, {})).status == 405

    talk(conversation)


def test_a_rehearsal_gets_a_token_that_works() -> None:
    async def conversation(ask: Conversation) -> None:
        assert await find_identity(ask, await ask("POST", f"{TOKEN}?dryRun=All", {})) is not None

    talk(conversation)


def test_a_token_for_others_is_none_for_the_api() -> None:
    async def conversation(ask: Conversation) -> None:
        reply = await ask("POST", TOKEN, request(audiences=["vault", "other"]))
        assert read_claims(reply)["aud"] == ["vault", "other"]
        assert await find_identity(ask, reply) is None
        for audiences, found in ((["vault"], ["vault"]), (["x", "other"], ["other"]), (["x"], None), ([], None)):
            spec = {"token": reply.body["status"]["token"], "audiences": audiences}
            status = (await ask("POST", REVIEWS, {"spec": spec})).body["status"]
            assert status.get("audiences") == found
            assert status.get("authenticated", False) is (found is not None)

    talk(conversation)


def test_a_token_ends_with_its_time() -> None:
    async def conversation(ask: Conversation) -> None:
        reply = await ask("POST", TOKEN, request(expirationSeconds=600))
        await ask.effects.advance(599)
        assert await find_identity(ask, reply) is not None
        await ask.effects.advance(1)
        assert await find_identity(ask, reply) is None

    talk(conversation)


def test_the_token_that_is_mounted_into_pods_lasts_longer_than_its_reader_is_told() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", PODS, make_pod("p"))
        asked = request(expirationSeconds=3607, boundObjectRef=bound("Pod", "p"))
        reply = await ask("POST", TOKEN, asked)
        claims, noon = read_claims(reply), int(NOON.timestamp())
        assert claims["exp"] == noon + EXTENDED_SECONDS
        assert claims["kubernetes.io"]["warnafter"] == noon + 3607
        assert reply.body["status"]["expirationTimestamp"] == "2026-01-02T13:00:07Z"
        for other in ({"audiences": ["vault"]}, {"expirationSeconds": 3608}, {"boundObjectRef": None}):
            spec = {**asked["spec"], **other}
            plain = read_claims(await ask("POST", TOKEN, {"spec": spec}))
            assert "warnafter" not in plain["kubernetes.io"] and plain["exp"] == noon + spec["expirationSeconds"]

    talk(conversation)


def test_a_token_of_a_pod_names_the_pod_and_its_node() -> None:
    async def conversation(ask: Conversation) -> None:
        node = (await ask("POST", NODES, {"metadata": {"name": "n"}})).body["metadata"]["uid"]
        pod = (await ask("POST", PODS, make_pod("p", nodeName="n"))).body["metadata"]["uid"]
        reply = await ask("POST", TOKEN, request(boundObjectRef=bound("Pod", "p", pod)))
        private = read_claims(reply)["kubernetes.io"]
        assert private["pod"] == {"name": "p", "uid": pod} and private["node"] == {"name": "n", "uid": node}
        identity = await find_identity(ask, reply)
        assert identity is not None
        assert dict(identity.extra) == {
            f"{AUTHENTICATION}/credential-id": (f"JTI={read_claims(reply)['jti']}",),
            f"{AUTHENTICATION}/node-name": ("n",),
            f"{AUTHENTICATION}/node-uid": (node,),
            f"{AUTHENTICATION}/pod-name": ("p",),
            f"{AUTHENTICATION}/pod-uid": (pod,),
        }
        await ask("DELETE", f"{NODES}/n")
        assert await find_identity(ask, reply) is not None, "the Pod decides, not the node that it is on"

    talk(conversation)


@pytest.mark.parametrize(
    ("kind", "path", "obj"),
    [
        pytest.param("ServiceAccount", f"{ACCOUNTS}/default", {"metadata": {"name": "default"}}, id="account"),
        pytest.param("Pod", f"{PODS}/x", make_pod("x"), id="pod"),
        pytest.param("Secret", f"{SECRETS}/x", {"metadata": {"name": "x"}}, id="secret"),
        pytest.param("Node", f"{NODES}/x", {"metadata": {"name": "x"}}, id="node"),
    ],
)
def test_a_token_ends_with_what_it_is_bound_to_and_a_namesake_does_not_revive_it(
    kind: str, path: str, obj: Json
) -> None:
    async def conversation(ask: Conversation) -> None:
        collection = path.rpartition("/")[0]
        await ask("POST", collection, obj)
        body = {} if kind == "ServiceAccount" else request(boundObjectRef=bound(kind, "x"))
        reply = await ask("POST", TOKEN, body)
        assert await find_identity(ask, reply) is not None
        await ask("DELETE", path)
        assert await find_identity(ask, reply) is None
        assert (await ask("POST", collection, obj)).status == 201
        assert await find_identity(ask, reply) is None

    talk(conversation)


def test_a_pod_that_is_being_stopped_speaks_for_a_minute_beyond_its_grace() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", PODS, make_pod("p", nodeName="n", terminationGracePeriodSeconds=30))
        reply = await ask("POST", TOKEN, request(boundObjectRef=bound("Pod", "p")))
        await ask("DELETE", f"{PODS}/p")
        await ask.effects.advance(90)
        assert await find_identity(ask, reply) is not None
        await ask.effects.advance(1)
        assert await find_identity(ask, reply) is None

    talk(conversation)


def test_what_is_not_a_token_of_this_server_is_nobody() -> None:
    async def conversation(ask: Conversation) -> None:
        token = (await ask("POST", TOKEN, {})).body["status"]["token"]
        head, payload, signature = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        forged = base64.urlsafe_b64encode(json.dumps({**claims, "sub": "system:admin"}).encode()).rstrip(b"=").decode()
        unsigned = jwt.encode(claims, None, algorithm="none")
        for wrong in (f"{head}.{forged}.{signature}", unsigned, token[:-4], token + "x" * 20_000, "", ".", "a.b", "ä"):
            assert ask.server.find_identity(wrong) is None, wrong[:40]

    talk(conversation)


def test_what_strangers_send_is_not_remembered() -> None:
    async def conversation(ask: Conversation) -> None:
        token = (await ask("POST", TOKEN, {})).body["status"]["token"]
        authenticator = ask.server.state.authenticator
        for sent in (token, token, token[:-4], token + "x", "x.y.z"):
            authenticator.find_identity(sent)
        assert len(authenticator._read) == 1
        assert authenticator.verify(token, ["vault"]) is None, "what is remembered is for its audiences alone"

    talk(conversation)


def test_the_issuer_tells_strangers_how_to_verify() -> None:
    robot = Identity("system:serviceaccount:a:b", ("system:authenticated", "system:serviceaccounts"))
    nobody = Identity("ann", ("system:authenticated",))

    async def conversation(ask: Conversation) -> None:
        path = "/.well-known/openid-configuration"
        document = (await ask("GET", path, identity=robot)).body
        assert document == {
            "issuer": DEFAULT_ISSUER,
            "jwks_uri": "https://localhost:6443/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        keys = await ask("GET", "/openid/v1/jwks", identity=robot)
        assert keys.headers["Content-Type"] == "application/jwk-set+json"
        token = (await ask("POST", TOKEN, {})).body["status"]["token"]
        key = jwt.PyJWKSet.from_dict(json.loads(keys.text))[jwt.get_unverified_header(token)["kid"]]
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        assert jwt.decode(token, key, algorithms=["ES256"], audience=DEFAULT_ISSUER, options=options)
        assert (await ask("GET", path, identity=nobody)).status == 403

    talk(conversation)
