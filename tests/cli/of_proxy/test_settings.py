"""kube-proxy's command line, as its manifests write it. Rule: spec "proxy" §10.1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from seaway.cli import group
from seaway.cli.of_proxy.settings import Asked, ProxyCommand, proxy_flags
from seaway.cli.proxy import command as proxy
from seaway.net.errors import OperationalError
from seaway.proxy.config import DetectLocal
from seaway.proxy.settings.table import SETTINGS, Kind
from tests.proxy.settings.test_settings import HEAD, KUBEADM

HOW = (("", True), ("=true", True), ("=false", False))
OF_KUBE_PROXY = frozenset((
    "bind-address", "bind-address-hard-fail", "cleanup", "cluster-cidr", "config", "config-sync-period",
    "conntrack-max-per-core", "conntrack-min", "conntrack-tcp-be-liberal", "conntrack-tcp-timeout-close-wait",
    "conntrack-tcp-timeout-established", "conntrack-udp-timeout", "conntrack-udp-timeout-stream", "detect-local-mode",
    "feature-gates", "healthz-bind-address", "healthz-port", "hostname-override", "init-only",
    "iptables-localhost-nodeports", "iptables-masquerade-bit", "iptables-min-sync-period", "iptables-sync-period",
    "ipvs-exclude-cidrs", "ipvs-min-sync-period", "ipvs-scheduler", "ipvs-strict-arp", "ipvs-sync-period",
    "ipvs-tcp-timeout", "ipvs-tcpfin-timeout", "ipvs-udp-timeout", "kube-api-burst", "kube-api-content-type",
    "kube-api-qps", "kubeconfig", "log-flush-frequency", "logging-format", "masquerade-all", "master",
    "metrics-bind-address", "metrics-port", "nodeport-addresses", "oom-score-adj", "pod-bridge-interface",
    "pod-interface-name-prefix", "profiling", "proxy-mode", "show-hidden-metrics-for-version", "v", "version",
    "vmodule", "write-config-to",
))  # fmt: skip


def call(*arguments: str) -> tuple[list[Asked], Result]:
    """What the flags come to; nothing when they are refused."""
    found: list[Asked] = []

    @click.command(cls=ProxyCommand)
    @proxy_flags
    def command(ask: Callable[[], Asked]) -> None:
        found.append(ask())

    return found, CliRunner().invoke(command, arguments, env={"KUBECONFIG": None})


def asked(*arguments: str) -> Asked:
    found, result = call(*arguments)
    assert found, (result.output, result.exception)
    return found[0]


def test_every_flag_of_kube_proxy_is_known() -> None:
    known = {opt.removeprefix("--") for param in proxy.params for opt in param.opts}
    assert known >= OF_KUBE_PROXY


BOOLEANS = [setting for setting in SETTINGS if setting.flag and setting.kind is Kind.FLAG]


@pytest.mark.parametrize(("suffix", "value"), HOW, ids=["alone", "=true", "=false"])
@pytest.mark.parametrize("setting", BOOLEANS, ids=[f"--{setting.flag}" for setting in BOOLEANS])
def test_a_boolean_flag_stands_alone_or_has_a_value(setting: Any, suffix: str, value: bool) -> None:
    assert asked(f"--{setting.flag}{suffix}").values[setting.path] is value


@pytest.mark.parametrize(("suffix", "value"), HOW, ids=["alone", "=true", "=false"])
@pytest.mark.parametrize("name", ["masquerade_outgoing", "serves_uplinks", "counts_connections"])
def test_so_do_our_own(name: str, suffix: str, value: bool) -> None:
    flag = {"serves_uplinks": "serve-uplinks", "counts_connections": "count-connections"}.get(name)
    assert getattr(asked(f"--{flag or name.replace('_', '-')}{suffix}").config, name) is value


def test_a_boolean_flag_never_takes_the_next_word() -> None:
    result = CliRunner().invoke(group, ["proxy", "--masquerade-all", "diff", "--help"])
    assert "Print what a sync would change" in result.output


@pytest.mark.parametrize("arguments", [["--v=2"], ["-v=2"], ["-v", "2"], ["--v", "2"]], ids=" ".join)
def test_verbosity_is_taken_in_every_form(arguments: list[str]) -> None:
    assert asked(*arguments, "--masquerade-all").config.masquerade_all


def test_kubeadms_command_line(tmp_path: Path) -> None:
    file = tmp_path / "config.conf"
    file.write_bytes(KUBEADM)
    found = asked(f"--config={file}", "--hostname-override=Node-1 ")
    assert found.config.node_name == "node-1"
    assert found.config.cluster_cidrs == ("10.244.0.0/16",)
    assert found.config.configuration_file == file
    assert found.config.sysctls_must_do
    assert found.kubeconfig == Path("/var/lib/kube-proxy/kubeconfig.conf")


def test_a_file_rules_out_flags_but_the_name_of_the_host(tmp_path: Path) -> None:
    file = tmp_path / "config.conf"
    file.write_bytes(HEAD + b"hostnameOverride: of-the-file\n")
    found = asked(f"--config={file}", "--masquerade-all", "--cluster-cidr=10.0.0.0/8")
    assert (found.config.masquerade_all, found.config.cluster_cidrs) == (False, ())
    assert found.config.node_name == "of-the-file"
    assert asked(f"--config={file}", "--hostname-override=of-the-flag").config.node_name == "of-the-flag"


def test_ports_of_pages_are_deprecated_and_work() -> None:
    found = asked("--healthz-port=10300", "--metrics-bind-address=0.0.0.0:1", "--metrics-port=0").config
    assert (found.healthz_address, found.metrics_address) == (("0.0.0.0", 10300), None)


def test_how_pods_are_known() -> None:
    found = asked("--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=veth").config
    assert (found.detect_local, found.pod_link) == (DetectLocal.INTERFACE_NAME_PREFIX, "veth")


def test_lists_and_maps_are_taken_as_kube_proxy_takes_them() -> None:
    found = asked("--nodeport-addresses=10.0.0.0/8,fd00::/8", "--feature-gates=A=true,B=false", "--ipvs-exclude-cidrs=")
    assert found.config.node_port_addresses == ("10.0.0.0/8", "fd00::/8")
    assert found.values["featureGates"] == {"A": "true", "B": "false"}
    assert asked("--nodeport-addresses=primary").config.node_port_addresses is None


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--detect-local-mode=BridgeInterface"], "must not be empty"),
        (
            ["--detect-local-mode=BridgeInterface", "--pod-bridge-interface=a link's name"],
            'link "a link\'s name": 1 to 15 letters, digits and _.@+=- allowed',
        ),
        (["--service-cidr=10.96.0.0"], "'10.96.0.0' is no CIDR; give one such as 10.244.0.0/16"),
        (["--config=/nowhere/config.conf"], "config /nowhere/config.conf: No such file or directory"),
        (["--conntrack-udp-timeout=1"], 'conntrack.udpTimeout: time: missing unit in duration "1"'),
    ],
    ids=["no name of a link", "a name that no rule can hold", "no range of Services", "no file", "no duration"],
)
def test_what_is_wrong_is_one_clear_error(arguments: list[str], text: str) -> None:
    found, result = call(*arguments)
    assert not found
    assert isinstance(result.exception, OperationalError)
    assert text in str(result.exception)


def test_what_changes_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    asked("--proxy-mode=ipvs", "--ipvs-scheduler=lc")
    assert [record.getMessage().partition(" warning=")[2] for record in caplog.records] == [
        "'mode is ignored: the rules are always nftables; only the section of that mode counts'",
        "'ipvs.scheduler is ignored: there is no ipvs mode;"
        " the annotation seaway.dev/balance chooses for each Service'",
    ]


def test_the_configuration_is_written_as_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "written.conf"
    result = CliRunner().invoke(
        group, ["proxy", f"--write-config-to={file}", "--masquerade-all", "--cluster-cidr=10.0.0.0/8"]
    )
    assert result.exit_code == 0
    found = asked(f"--config={file}").config
    assert (found.masquerade_all, found.cluster_cidrs) == (True, ("10.0.0.0/8",))
