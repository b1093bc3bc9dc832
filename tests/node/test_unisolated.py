"""Rule: issue "userspace data plane", 4 (Pods without namespaces); spec "node" §2.9, "discovery" §B2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seaway.api.service.served import SERVED_AT, Frontend, derive_port
from seaway.api.service.types import Service
from seaway.net.loopback import LoopbackMap
from seaway.node.config import NodeConfig
from seaway.node.envvars import make_service_variables
from seaway.node.pods.sources import HostFiles, Sources, make_container_spec
from seaway.node.resolvconf import Resolver
from seaway.node.state import PodState, Sandbox
from seaway.node.unisolated import (
    ACCOUNT_PATH,
    NET_BIND_SERVICE,
    asks_cluster,
    find_dns_place,
    find_unisolated_gaps,
    find_unisolated_refusal,
    has_capability,
    make_locator,
    render_kubeconfig,
)
from tests.node.manifests import decode_pod, decode_service

MAP = LoopbackMap()
LOCATE = make_locator(MAP, 0)
STATE = Path("/state")
ROOT = Path("/state/pods/uid-1/containers/main/0.root")


def serve(
    name: str, address: str, *ports: tuple[str, int], at: str = "", protocol: str = "TCP", **more: Any
) -> Service:
    entries = [{"name": port_name, "port": port, "protocol": protocol} for port_name, port in ports]
    service = decode_service(name, address, ports=entries, **more)
    service.metadata.annotations[SERVED_AT] = at
    return service


def test_variables_are_named_by_the_services_ports_and_lead_where_these_are_served() -> None:
    service = serve("web", "10.96.0.10", ("http", 80), ("admin", 9000), at="10.96.0.10:80/TCP=127.96.0.10:31514")
    assert make_service_variables((service,), LOCATE) == {
        "WEB_SERVICE_HOST": "127.96.0.10",
        "WEB_SERVICE_PORT": "31514",
        "WEB_SERVICE_PORT_HTTP": "31514",
        "WEB_SERVICE_PORT_ADMIN": "9000",
        "WEB_PORT": "tcp://127.96.0.10:31514",
        "WEB_PORT_80_TCP": "tcp://127.96.0.10:31514",
        "WEB_PORT_80_TCP_PROTO": "tcp",
        "WEB_PORT_80_TCP_PORT": "31514",
        "WEB_PORT_80_TCP_ADDR": "127.96.0.10",
        "WEB_PORT_9000_TCP": "tcp://127.96.0.10:9000",
        "WEB_PORT_9000_TCP_PROTO": "tcp",
        "WEB_PORT_9000_TCP_PORT": "9000",
        "WEB_PORT_9000_TCP_ADDR": "127.96.0.10",
    }


def make_config(**changes: Any) -> NodeConfig:
    return NodeConfig(
        node_name="node-1", node_ip="10.240.0.1", dns_ip="10.96.0.10", state_dir=STATE, data_dir=STATE,
        network="none", loopback=MAP, **changes,
    )  # fmt: skip


def make_environment(
    *, services: tuple[Service, ...] = (), nameservers: tuple[str, ...] = (), **pod: Any
) -> dict[str, str]:
    manifest = decode_pod("web-1", **pod)
    state = PodState(sandbox=Sandbox("uid-1", ("10.244.0.5",)), pod_ips=("10.244.0.5",))
    host = HostFiles(Resolver(nameservers), "", "host")
    spec = make_container_spec(
        make_config(), manifest, manifest.spec.containers[0], state, services=services, sources=Sources(), host=host
    )
    return dict(spec.environment)


def contain(**changes: Any) -> list[dict[str, Any]]:
    return [{"name": "main", "image": "x", "command": ["sh"], **changes}]


def test_a_program_is_told_the_address_that_it_can_bind() -> None:
    refer = [{"name": "MINE", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
             {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}]  # fmt: skip
    found = make_environment(containers=contain(env=refer))
    assert found["POD_IP"] == found["POD_IPS"] == found["MINE"] == "127.244.0.5" and found["HOST"] == "127.240.0.1"
    assert found["SEAWAY_ROOT"] == str(ROOT)
    assert found["SEAWAY_TERMINATION_LOG"] == f"{ROOT}/dev/termination-log"


def test_on_the_hosts_network_that_is_the_nodes() -> None:
    assert make_environment(containers=contain(), hostNetwork=True)["POD_IP"] == "127.240.0.1"


def test_what_the_pod_sets_comes_first_and_may_refer_to_what_is_given() -> None:
    env = [{"name": "SEAWAY_DNS", "value": "mine"}, {"name": "CONFIG", "value": "$(SEAWAY_ROOT)/etc/c"}]
    dns = serve("kube-dns", "10.96.0.10", ("dns", 53), protocol="UDP", namespace="kube-system")
    found = make_environment(containers=contain(env=env), services=(dns,))
    assert found["SEAWAY_DNS"] == "mine" and found["CONFIG"] == f"{ROOT}/etc/c"


def test_without_an_account_nothing_is_said_of_one() -> None:
    assert not {"KUBECONFIG", "SEAWAY_SERVICEACCOUNT"} & set(make_environment(containers=contain()))


@pytest.mark.parametrize(
    ("nameserver", "at", "expected"),
    [
        pytest.param("127.96.0.10", "", True, id="the host's resolver asks the cluster's DNS: search lists are of use"),
        pytest.param("192.0.2.53", "", False, id="it asks another: names of the cluster are no business of that one"),
        pytest.param(
            "127.96.0.10", "10.96.0.10:53/UDP=127.96.0.10:31053", False, id="DNS is not at the port that it would ask"
        ),
    ],
)
def test_the_resolver_of_the_c_library(nameserver: str, at: str, expected: bool) -> None:
    """glibc takes search domains and options from the environment, and name servers from its file alone."""
    dns = serve("kube-dns", "10.96.0.10", ("dns", 53), protocol="UDP", at=at, namespace="kube-system")
    found = make_environment(containers=contain(), services=(dns,), nameservers=(nameserver,))
    assert ("LOCALDOMAIN" in found, "RES_OPTIONS" in found) == (expected, expected)
    if expected:
        assert found["LOCALDOMAIN"] == "default.svc.cluster.local svc.cluster.local cluster.local"
        assert found["RES_OPTIONS"] == "ndots:5"
    assert found["SEAWAY_DNS"] == ("127.96.0.10:31053" if at else "127.96.0.10:53")
    assert asks_cluster((nameserver,), find_dns_place((dns,), "10.96.0.10", LOCATE)) is expected


def test_no_service_has_the_address_of_dns() -> None:
    assert find_dns_place((serve("web", "10.96.0.11", ("dns", 53), protocol="UDP"),), "10.96.0.10", LOCATE) is None


def test_a_pod_that_comes_before_its_service_has_endpoints_is_told_where_that_will_be_served() -> None:
    """The proxy says so on the Service only when it serves it; the Pod may be the endpoint."""
    service = serve("web", "10.96.0.9", ("http", 80), ("high", 8080))
    found = make_service_variables((service,), make_locator(MAP, 1024))
    expected = str(derive_port(Frontend("10.96.0.9", 80)))
    assert found["WEB_SERVICE_HOST"] == "127.96.0.9" and found["WEB_SERVICE_PORT_HTTP"] == expected
    assert found["WEB_SERVICE_PORT_HIGH"] == "8080"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param("Name:\tsh\nCapEff:\t000001ffffffffff\n", True, id="root"),
        pytest.param("Name:\tsh\nCapEff:\t0000000000000400\n", True, id="this one alone"),
        pytest.param("Name:\tsh\nCapEff:\t000001fffffffbff\n", False, id="all but this one"),
        pytest.param("Name:\tsh\nCapEff:\t0000000000000000\n", False, id="root in a container without any"),
        pytest.param("", False, id="a host that does not say"),
    ],
)
def test_who_may_bind_low_ports(status: str, expected: bool) -> None:
    assert has_capability(status, NET_BIND_SERVICE) is expected


def test_a_kubeconfig_for_the_account() -> None:
    api = serve("kubernetes", "10.96.0.1", ("https", 443), at="10.96.0.1:443/TCP=127.96.0.1:31443")
    config = json.loads(render_kubeconfig(ROOT, "team", (api,), LOCATE))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    assert cluster["server"] == "https://127.96.0.1:31443" and cluster["tls-server-name"] == "kubernetes.default.svc"
    assert cluster["certificate-authority"] == f"{ROOT}{ACCOUNT_PATH}/ca.crt"
    assert user == {"tokenFile": f"{ROOT}{ACCOUNT_PATH}/token"}, "which is renewed, so its content is not in it"
    assert config["contexts"][0]["context"]["namespace"] == "team"
    assert render_kubeconfig(ROOT, "team", (), LOCATE) == ""


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        pytest.param({}, "", id="an ordinary Pod"),
        pytest.param({"securityContext": {"runAsUser": 1000, "runAsGroup": 1000}}, "", id="the agent's own user"),
        pytest.param({"securityContext": {"runAsUser": 0}}, "user 0 and group 1000 found", id="another user"),
        pytest.param({"securityContext": {"runAsGroup": 5}}, "user 1000 and group 5 found", id="another group"),
        pytest.param({"securityContext": {"runAsNonRoot": True}}, "", id="not root, and it is not"),
        pytest.param(
            {"securityContext": {"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}}, "sysctl net", id="sysctls"
        ),
        pytest.param(
            {"containers": contain(securityContext={"capabilities": {"add": ["NET_RAW"], "drop": ["ALL"]}})},
            "capability NET_RAW", id="a capability",
        ),
        pytest.param(
            {"containers": contain(securityContext={"capabilities": {"add": ["NET_BIND_SERVICE"]}})}, "",
            id="a low port that may not be bound is an error of its own",
        ),
        pytest.param(
            {"containers": contain(volumeMounts=[{"name": path, "mountPath": path} for path in ("/x", "/x/y")])},
            "mountPath /x/y lies in mountPath /x", id="a mount in a mount",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(pod: dict[str, Any], words: str) -> None:
    refusal = find_unisolated_refusal(decode_pod(**({"containers": contain()} | pod)), user=1000, group=1000)
    assert words in refusal and bool(refusal) is bool(words)


def test_a_debugger_that_asks_for_too_much_does_not_hold_up_its_pod() -> None:
    debugger = {**contain(securityContext={"capabilities": {"add": ["SYS_PTRACE"]}})[0], "name": "debugger"}
    pod = decode_pod(containers=contain(), ephemeralContainers=[debugger])
    assert find_unisolated_refusal(pod, user=1000, group=1000) == ""


def test_a_pod_that_must_not_be_root_is_refused_where_the_agent_is() -> None:
    pod = decode_pod(containers=contain(), securityContext={"runAsNonRoot": True})
    assert "runAsNonRoot" in find_unisolated_refusal(pod, user=0, group=0)


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        pytest.param({}, (), id="nothing is lacking"),
        pytest.param(
            {"containers": contain(volumeMounts=[{"name": "t", "mountPath": ACCOUNT_PATH, "readOnly": True}])}, (),
            id="the account's files, which every Pod has, are no news",
        ),
        pytest.param(
            {"containers": contain(volumeMounts=[{"name": "a", "mountPath": "/x", "readOnly": True}])},
            ("/x of container main is $SEAWAY_ROOT/x, and can be written",), id="where a mount is",
        ),
        pytest.param(
            {"containers": contain(ports=[{"containerPort": 80, "hostPort": 8080}])}, ("hostPort 8080/TCP",),
            id="host ports",
        ),
        pytest.param(
            {"volumes": [{"name": "m", "emptyDir": {"medium": "Memory"}}], "hostAliases": [{"ip": "10.0.0.1"}]},
            ("volume m lies on disk", "hostAliases"), id="memory, and names",
        ),
        pytest.param(
            {"containers": contain(securityContext={"readOnlyRootFilesystem": True})}, ("is not read-only",),
            id="a root that can be written",
        ),
    ],
)  # fmt: skip
def test_what_is_left_undone(pod: dict[str, Any], words: tuple[str, ...]) -> None:
    told = find_unisolated_gaps(decode_pod(**({"containers": contain()} | pod)))
    assert all(each in told for each in words) and bool(told) is bool(words)
    assert "\n" not in told


def test_a_map_and_no_network_go_together() -> None:
    with pytest.raises(ValueError, match="network routed"):
        NodeConfig(node_name="n", node_ip="10.0.0.1", state_dir=STATE, data_dir=STATE, loopback=MAP)
    with pytest.raises(ValueError, match="network none"):
        NodeConfig(node_name="n", node_ip="10.0.0.1", state_dir=STATE, data_dir=STATE, network="none")
