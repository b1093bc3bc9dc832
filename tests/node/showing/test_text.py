"""Rule: design §4 (`seaway node env POD`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from seaway.net.loopback import LoopbackMap
from seaway.node.config import NodeConfig
from seaway.node.pods.sources import HostFiles, Sources, make_container_spec
from seaway.node.resolvconf import Resolver
from seaway.node.showing.text import conceal_secrets, render_surroundings
from seaway.node.state import PodState
from tests.node.manifests import decode_pod, decode_service

CONFIG = NodeConfig(
    node_name="node-1", node_ip="192.0.2.10", dns_ip="10.96.0.10", state_dir=Path("/s"), data_dir=Path("/d")
)
HOST = HostFiles(Resolver(("192.0.2.53",), ("corp.example",)), "", "node-1")
SOURCES = Sources({"settings": {"a=b": b"x", "two": b"1\n2"}}, {"keys": {"k": b"hunter2"}})
ENV = [
    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}},
    {"name": "URL", "value": "http://$(KEY)@$(WEB_SERVICE_HOST)"},
]
CONTAINERS = [
    {"name": "main", "env": ENV, "envFrom": [{"configMapRef": {"name": "settings"}}], "command": ["true"]},
    {"name": "other", "env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k"}}}]},
]
POD = decode_pod("web-1", containers=CONTAINERS, subdomain="s", dnsConfig={"nameservers": ["1.1.1.1"] * 2})
WEB = decode_service("web", "10.96.0.7", ports=[{"port": 80}])
EXPECTED = """\
# variables of container main
# warning InvalidEnvironmentVariableNames: Keys [a=b] from the EnvFrom configMap default/settings were skipped since \
they are considered invalid environment variable names.
two=1\\n2
KEY=<k of secret keys>
URL=http://<k of secret keys>@10.96.0.7
WEB_SERVICE_HOST=10.96.0.7
WEB_SERVICE_PORT=80
WEB_PORT=tcp://10.96.0.7:80
WEB_PORT_80_TCP=tcp://10.96.0.7:80
WEB_PORT_80_TCP_PROTO=tcp
WEB_PORT_80_TCP_PORT=80
WEB_PORT_80_TCP_ADDR=10.96.0.7

# variables of container other
# error: configmap "no" not found

# /etc/hostname
web-1

# /etc/resolv.conf
search default.svc.cluster.local svc.cluster.local cluster.local corp.example
nameserver 10.96.0.10
nameserver 1.1.1.1
options ndots:5

# /etc/hosts
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
10.244.0.2\tweb-1.s.default.svc.cluster.local\tweb-1
"""


def render(container: str = "", sources: Sources = SOURCES) -> str:
    state = PodState(pod_ips=("10.244.0.2",))
    return render_surroundings(
        CONFIG, POD, state, services=[WEB], sources=sources, host=HOST, container=container
    )  # fmt: skip


def test_all_that_a_pod_finds_without_what_is_secret() -> None:
    assert render(sources=conceal_secrets(SOURCES)) == EXPECTED


def test_secrets_are_shown_when_they_may_be() -> None:
    assert "URL=http://hunter2@10.96.0.7" in render()
    assert "hunter2" not in repr(conceal_secrets(SOURCES))


def test_one_container_alone() -> None:
    text = render("main")
    assert "# variables of container main" in text and "# variables of container other" not in text


def test_what_is_shown_is_what_the_container_is_started_with() -> None:
    state = PodState(pod_ips=("10.244.0.2",))
    spec = make_container_spec(
        CONFIG, POD, POD.spec.containers[0], state, services=[WEB], sources=SOURCES, host=HOST
    )  # fmt: skip
    lines = [f"{name}={value}" for name, value in spec.environment.items() if "\n" not in value]
    text = render("main")
    assert [line for line in lines if line not in text.splitlines()] == []
    assert all(content in text for path, content in spec.files if path != "/etc/nsswitch.conf")


def test_without_namespaces_it_is_what_works_on_loopback() -> None:
    config = replace(CONFIG, network="none", loopback=LoopbackMap())
    text = render_surroundings(
        config, POD, PodState(pod_ips=("10.244.0.2",)), services=[WEB], sources=SOURCES, host=HOST, container="main"
    )  # fmt: skip
    assert "POD_IP=127.244.0.2" in text and f"SEAWAY_ROOT={CONFIG.state_dir}/pods/uid-1/containers/main/0.root" in text
    assert "WEB_SERVICE_HOST=127.96.0.7" in text and "127.244.0.2\tweb-1.s" in text
    assert "10.244.0.2" not in text and "WEB_SERVICE_HOST=10." not in text


def test_a_host_name_that_cannot_be_is_told() -> None:
    pod = decode_pod("a" * 60, containers=CONTAINERS, subdomain="s", setHostnameAsFQDN=True)
    text = render_surroundings(CONFIG, pod, PodState(), services=[], sources=SOURCES, host=HOST)
    assert "# error: failed to construct FQDN" in text
