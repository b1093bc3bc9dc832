"""Rule: the head of `pod.py`: what is alike is kept once, and what only waiting Pods need is kept while they wait."""

from __future__ import annotations

from seaway.api.pod.types import Pod
from seaway.client.sharing import Pool
from seaway.controllers.scheduler.pod import Waiting
from tests.controllers.scheduler.boards import affinity, near, pod


def test_it_is_the_pod_of_everybody_else() -> None:
    assert isinstance(pod(), Pod)


def test_pods_that_ask_for_the_same_share_it() -> None:
    pool = Pool()  # of the board
    one, other = (
        pool.share(
            pod(name, labels={"app": "web"}, requests={"cpu": "1"}, affinity=affinity("podAntiAffinity", near("web")))
        )
        for name in "ab"
    )
    assert one.wants is other.wants
    assert one.wants is not pod("c", requests={"cpu": "2"}).wants


def test_a_pod_with_a_node_has_forgotten_that_it_waited() -> None:
    assert pod(nodeName="n").waiting is None
    told = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no"}]}
    assert pod(priority=3, status=told).waiting == Waiting(3, "", "default-scheduler", False, "no")


def test_terms_without_a_namespace_mean_the_own() -> None:
    (term,) = pod(namespace="shop", affinity=affinity("podAffinity", near("web"))).wants.near
    assert term.namespaces == {"shop"}


def test_only_the_controller_is_the_owner() -> None:
    references = [{"uid": "friend"}, {"uid": "rs", "controller": True}]
    assert pod(meta={"ownerReferences": references}).owner == "rs"


def test_ports_of_init_containers_that_end_are_free_again() -> None:
    ports = [{"hostPort": 80}]
    inits = [{"name": "i", "ports": ports}, {"name": "s", "ports": [{"hostPort": 81}], "restartPolicy": "Always"}]
    assert [port.port for port in pod(initContainers=inits).wants.ports] == [81]
