"""What LimitRanges give and refuse. Rule: upstream's LimitRanger; spec "api-machinery" §12."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.registry import PERSISTENT_VOLUME_CLAIMS, PODS
from seaway.apiserver.admission.limitranges import ANNOTATION, fill_pod, find_limit_refusal
from seaway.testing.builders import make_pod
from tests.apiserver.conversation import Conversation, talk

Json = dict[str, Any]
HOME = "/api/v1/namespaces/default"


def limit_range(*items: Json, kind: str = "Container", name: str = "l", **item: Json) -> Json:
    return {"metadata": {"name": name}, "spec": {"limits": [{"type": kind, **item}, *items] if item else [*items]}}


def container(name: str = "c", **resources: Json) -> Json:
    return {"name": name, "image": "i", "resources": resources}


BOTH = limit_range(default={"cpu": "1", "memory": "1Gi"}, defaultRequest={"cpu": "100m"})


@pytest.mark.parametrize(
    ("given", "ranges", "resources", "told"),
    [
        pytest.param(
            [container()], [BOTH], {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
            "cpu request for container c; cpu, memory limit for container c",
            id="a container that says nothing gets all",
        ),
        pytest.param(
            [container(limits={"cpu": "2"}, requests={"cpu": "2"})], [BOTH],
            {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "2"}}, "memory limit for container c",
            id="what it says stays",
        ),
        pytest.param(
            [container()], [limit_range(default={"cpu": "1"}), limit_range(default={"cpu": "2", "memory": "2Gi"})],
            {"limits": {"cpu": "1", "memory": "2Gi"}}, "cpu limit for container c; memory limit for container c",
            id="of several the first has its say",
        ),
        pytest.param(
            [container(limits={"cpu": "2"})], [limit_range(max={"cpu": "3"}, kind="Pod")], {"limits": {"cpu": "2"}},
            None,
            id="a bound of Pods gives nothing",
        ),
    ],
)  # fmt: skip
def test_a_container_gets(given: list[Json], ranges: list[Json], resources: Json, told: str | None) -> None:
    pod = make_pod(containers=given)
    filled = fill_pod(pod, ranges)
    assert filled["spec"]["containers"][0]["resources"] == resources
    annotation = filled["metadata"].get("annotations", {}).get(ANNOTATION)
    assert annotation == (None if told is None else f"LimitRanger plugin set: {told}")
    assert pod == make_pod(containers=given), "the Pod that was given is as it was"


def test_init_containers_get_it_too() -> None:
    filled = fill_pod(make_pod(initContainers=[container("i")], containers=[container()]), [BOTH])
    assert filled["spec"]["initContainers"][0]["resources"]["requests"] == {"cpu": "100m"}
    assert "cpu request for init container i" in filled["metadata"]["annotations"][ANNOTATION]


@pytest.mark.parametrize(
    ("pod", "limits", "why"),
    [
        pytest.param([container()], limit_range(min={"cpu": "1"}),
                     "minimum cpu usage per Container is 1.  No request is specified", id="min needs a request"),
        pytest.param([container(requests={"cpu": "500m"})], limit_range(min={"cpu": "1"}),
                     "minimum cpu usage per Container is 1, but request is 500m", id="a request below min"),
        pytest.param([container(requests={"cpu": "1"}, limits={"cpu": "900m"})], limit_range(min={"cpu": "1"}),
                     "minimum cpu usage per Container is 1, but limit is 900m", id="a limit below min"),
        pytest.param([container(requests={"cpu": "1"})], limit_range(min={"cpu": "1"}), "", id="min itself will do"),
        pytest.param([container()], limit_range(max={"memory": "1Gi"}),
                     "maximum memory usage per Container is 1Gi.  No limit is specified", id="max needs a limit"),
        pytest.param([container(limits={"memory": "1536Mi"})], limit_range(max={"memory": "1Gi"}),
                     "maximum memory usage per Container is 1Gi, but limit is 1536Mi", id="a limit above max"),
        pytest.param([container(limits={"cpu": "1"}, requests={"cpu": "2"})], limit_range(max={"cpu": "1"}),
                     "maximum cpu usage per Container is 1, but request is 2", id="a request above max"),
        pytest.param([container(limits={"cpu": "3"}, requests={"cpu": "2"})],
                     limit_range(maxLimitRequestRatio={"cpu": "1500m"}), "", id="the ratio itself will do"),
        pytest.param([container(limits={"cpu": "4"}, requests={"cpu": "2"})],
                     limit_range(maxLimitRequestRatio={"cpu": "1500m"}),
                     "cpu max limit to request ratio per Container is 1500m, but provided ratio is 2.000000",
                     id="a ratio that is too large"),
        pytest.param([container(limits={"cpu": "4"})], limit_range(maxLimitRequestRatio={"cpu": "2"}),
                     "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
                     id="a ratio needs both"),
        pytest.param([container(requests={"cpu": "1"}), container(requests={"cpu": "1"})],
                     limit_range(kind="Pod", min={"cpu": "3"}),
                     "minimum cpu usage per Pod is 3, but request is 2", id="containers of a Pod add up"),
        pytest.param([container(requests={"cpu": "1"})], limit_range(min={"cpu": "2", "memory": "1Gi"}),
                     "[minimum cpu usage per Container is 2, but request is 1, "
                     "minimum memory usage per Container is 1Gi.  No request is specified]",
                     id="all problems of one LimitRange are told"),
        pytest.param([container("a"), container("b")], limit_range(min={"cpu": "2"}),
                     "minimum cpu usage per Container is 2.  No request is specified", id="each only once"),
    ],
)  # fmt: skip
def test_a_pod_is_refused(pod: list[Json], limits: Json, why: str) -> None:
    assert find_limit_refusal(PODS, make_pod(containers=pod), [limits]) == why


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("1Gi", ""),
        ("5Gi", "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi"),
        ("1Mi", "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"),
        (None, "[minimum storage usage per PersistentVolumeClaim is 1Gi.  No request is specified, "
               "maximum storage usage per PersistentVolumeClaim is 2Gi.  No request is specified]"),
    ],
)  # fmt: skip
def test_a_claim_is_refused(asked: str | None, why: str) -> None:
    claim = {"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": asked} if asked else {}}}}
    limits = limit_range(kind="PersistentVolumeClaim", min={"storage": "1Gi"}, max={"storage": "2Gi"})
    assert find_limit_refusal(PERSISTENT_VOLUME_CLAIMS, claim, [limits]) == why


def test_clients_see_defaults_and_refusals_and_a_pod_that_runs_is_left_alone() -> None:
    async def conversation(ask: Conversation) -> None:
        await ask("POST", f"{HOME}/pods", make_pod("before"))
        limits = limit_range(max={"cpu": "1"}, default={"cpu": "500m"})
        assert (await ask("POST", f"{HOME}/limitranges", limits)).status == 201
        made = await ask("POST", f"{HOME}/pods", make_pod("a"))
        assert made.status == 201, made.body
        resources = made.body["spec"]["containers"][0]["resources"]
        assert resources == {"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}}
        reply = await ask("POST", f"{HOME}/pods", make_pod("b", containers=[container(limits={"cpu": "2"})]))
        why = 'pods "b" is forbidden: maximum cpu usage per Container is 1, but limit is 2'
        assert (reply.status, reply.message) == (403, why)
        assert (await ask.patch(f"{HOME}/pods/before", {"metadata": {"labels": {"a": "b"}}})).status == 200
        assert (await ask("DELETE", f"{HOME}/limitranges/l")).status == 200
        assert (await ask("POST", f"{HOME}/pods", make_pod("c"))).status == 201

    talk(conversation)


def test_a_limit_range_says_what_a_quota_wants_to_hear() -> None:
    async def conversation(ask: Conversation) -> None:
        quota = {"metadata": {"name": "q"}, "spec": {"hard": {"limits.cpu": "1"}}}
        assert (await ask("POST", f"{HOME}/resourcequotas", quota)).status == 201
        refused = await ask("POST", f"{HOME}/pods", make_pod("a"))
        assert "failed quota: q: must specify limits.cpu for: main" in refused.message
        await ask("POST", f"{HOME}/limitranges", limit_range(default={"cpu": "1"}))
        assert (await ask("POST", f"{HOME}/pods", make_pod("a"))).status == 201

    talk(conversation)
