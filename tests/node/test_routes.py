"""Who may ask the node's own server for what. Rule: spec "node" §5.1, §5.2."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from seaway.node.config import NodeConfig
from seaway.node.routes import (
    Page,
    Refused,
    Stream,
    StreamRequest,
    encode_config,
    encode_pods,
    find_common_name,
    find_page,
)

API_SERVER = "kube-apiserver-kubelet-client"
NOT_FOUND = Refused(404, "404 page not found\n")
NOT_ALLOWED = Refused(405, "405: Method Not Allowed\n")


def forbidden(user: str, verb: str, subresources: str) -> Refused:
    return Refused(403, f"Forbidden (user={user}, verb={verb}, resource=nodes, subresource(s)=[{subresources}])\n")


EXEC = StreamRequest(Stream.EXEC, "default", "web", "", "main")
EXEC_OF = StreamRequest(Stream.EXEC, "default", "web", "u-1", "main")
FORWARD = StreamRequest(Stream.FORWARD, "default", "web")
LOGS = StreamRequest(Stream.LOGS, "a/b", "web", "", "main")
EXEC_DENIED = forbidden("admin", "get", "proxy")


@pytest.mark.parametrize(
    ("method", "path", "user", "found"),
    [
        pytest.param("GET", "/healthz", API_SERVER, Page.HEALTHZ, id="the API server may ask"),
        pytest.param("GET", "/pods/", API_SERVER, Page.PODS, id="a slash at the end changes nothing"),
        pytest.param("GET", "/configz", API_SERVER, Page.CONFIGZ, id="the configuration is told"),
        pytest.param("GET", "/pods", None, Refused(401, "Unauthorized"), id="nobody is refused"),
        pytest.param("GET", "/nothing", None, Refused(401, "Unauthorized"), id="nobody is not told what there is"),
        pytest.param("GET", "/pods", "admin", forbidden("admin", "get", "pods proxy"), id="another name is refused"),
        pytest.param("POST", "/x", "admin", forbidden("admin", "create", "proxy"), id="what is unknown is proxy"),
        pytest.param("HEAD", "/logs/a", "admin", forbidden("admin", "", "log"), id="HEAD has no verb"),
        pytest.param("GET", "/", API_SERVER, NOT_FOUND, id="there is no front page"),
        pytest.param("GET", "", API_SERVER, NOT_FOUND, id="there is no empty path"),
        pytest.param("GET", "/metrics", API_SERVER, Page.METRICS, id="the numbers are told"),
        pytest.param("GET", "/pods/default", API_SERVER, NOT_FOUND, id="a page has nothing below it"),
        pytest.param("GET", "/exec/default/web/main", API_SERVER, EXEC, id="a container may be named"),
        pytest.param("POST", "/exec/default/web/u-1/main", API_SERVER, EXEC_OF, id="and the Pod by its UID too"),
        pytest.param("POST", "/portForward/default/web", API_SERVER, FORWARD, id="ports are the Pod's"),
        pytest.param("GET", "/containerLogs/a%2Fb/web/main", API_SERVER, LOGS, id="names are decoded one by one"),
        pytest.param("POST", "/containerLogs/a/web/main", API_SERVER, NOT_ALLOWED, id="logs are read only"),
        pytest.param("DELETE", "/exec/default/web/main", API_SERVER, NOT_ALLOWED, id="nothing is deleted"),
        pytest.param("GET", "/exec/default/web", API_SERVER, NOT_FOUND, id="a container is needed"),
        pytest.param("GET", "/exec/default/web/main", "admin", EXEC_DENIED, id="programs are the API server's to ask"),
        pytest.param("GET", "/exec/default/web/main", None, Refused(401, "Unauthorized"), id="and nobody else's"),
        pytest.param("POST", "/pods", API_SERVER, NOT_ALLOWED, id="pages are read only"),
        pytest.param("HEAD", "/healthz", API_SERVER, NOT_ALLOWED, id="GET is the only method"),
    ],
)
def test_a_request_leads_to_a_page_or_to_the_reason_why_not(
    method: str, path: str, user: str | None, found: Page | StreamRequest | Refused
) -> None:
    assert find_page(method, path, user, clients=(API_SERVER,)) == found


def test_the_name_is_the_last_common_name_of_the_subject() -> None:
    subject = ((("organizationName", "system:masters"),), (("commonName", "first"),), (("commonName", "last"),))
    assert find_common_name(subject) == "last"
    assert find_common_name(subject[:1]) is None


def test_the_pods_are_a_list_as_a_kubelet_gives_it() -> None:
    pod = {"metadata": {"name": "a"}, "spec": {"unknown": True}}
    assert json.loads(encode_pods([msgspec.Raw(json.dumps(pod).encode())])) == {
        "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod],
    }  # fmt: skip


def test_the_configuration_is_told_in_a_kubelets_words() -> None:
    config = NodeConfig(
        node_name="n", node_ip="192.0.2.1,fd00::1", dns_ip="10.96.0.10", state_dir=Path("/s"), data_dir=Path("/")
    )
    told = json.loads(encode_config(config, port=10250))["kubeletconfig"]
    assert (told["address"], told["port"], told["clusterDNS"]) == ("192.0.2.1", 10250, ["10.96.0.10"])
    assert told["authentication"]["anonymous"] == {"enabled": False}
