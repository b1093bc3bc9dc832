"""Rule: spec "proxy" §6.2, §10.1, §10.2."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.machinery.yaml_codec import encode_yaml
from seaway.proxy.config import DetectLocal
from seaway.proxy.settings.apply import make_proxy_settings, plan_sysctls
from seaway.proxy.settings.table import (
    SETTINGS,
    Setting,
    SettingsError,
    complete_flags,
    complete_settings,
    decode_settings,
    default_values,
    encode_tree,
    replace_port,
)
from seaway.proxy.settings.validation import validate_settings

HEAD = b"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a bit beyond the mark": (
        {"mode": "nftables", "nftables.masqueradeBit": 32},
        "KubeProxyNFTablesConfiguration.MasqueradeBit",
        "must be within the range [0, 31]",
    ),
    "a bit beyond the mark of iptables": (
        {"iptables.masqueradeBit": -1},
        "KubeProxyIPTablesConfiguration.MasqueradeBit",
        "must be within the range [0, 31]",
    ),
    "no time between retries": (
        {"mode": "nftables", "nftables.syncPeriod": "0s", "nftables.minSyncPeriod": "0s"},
        "KubeProxyNFTablesConfiguration.SyncPeriod",
        "must be greater than 0",
    ),
    "a least time that is negative": (
        {"iptables.minSyncPeriod": "-1s"},
        "KubeProxyIPTablesConfiguration.MinSyncPeriod",
        "must be greater than or equal to 0",
    ),
    "a least time beyond the period": (
        {"iptables.minSyncPeriod": "31s"},
        "KubeProxyIPTablesConfiguration.SyncPeriod",
        "must be greater than or equal to KubeProxyConfiguration.MinSyncPeriod",
    ),
    "a timeout of ipvs below nothing": (
        {"mode": "ipvs", "ipvs.tcpFinTimeout": "-1s"},
        "KubeProxyIPVSConfiguration.TCPFinTimeout",
        "must be greater than or equal to 0",
    ),
    "nothing read again, ever": ({"configSyncPeriod": "0s"}, "ConfigSyncPeriod", "must be greater than 0"),
    "a mode that nobody has": (
        {"mode": "ebpf"},
        "Mode.ProxyMode",
        "must be iptables, ipvs, nftables or blank (blank means the best-available proxy [currently iptables])",
    ),
    "a way to detect that nobody has": (
        {"detectLocalMode": "Magic"},
        "DetectLocalMode",
        'supported values: "BridgeInterface", "ClusterCIDR", "InterfaceNamePrefix", "NodeCIDR", ""',
    ),
    "a range of Pods that is none": (
        {"clusterCIDR": "10.0.0.1"},
        "DetectLocalConfiguration.ClusterCIDRs",
        "must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)",
    ),
    "two ranges of one family": (
        {"clusterCIDR": "10.0.0.0/16,10.1.0.0/16"},
        "DetectLocalConfiguration.ClusterCIDRs",
        "must be a either a single CIDR or dual-stack pair of CIDRs (e.g. [10.100.0.0/16, fde4:8dba:82e1::/48]",
    ),
    "fewer flows per core than none": (
        {"conntrack.maxPerCore": -1},
        "KubeProxyConntrackConfiguration.MaxPerCore",
        "must be greater than or equal to 0",
    ),
    "fewer requests than none": ({"clientConnection.burst": -1}, "ClientConnection.Burst", "must be non-negative"),
    "a bind address that is none": (
        {"bindAddress": "x"},
        "BindAddress",
        "not a valid textual representation of an IP address",
    ),
    "no port": ({"healthzBindAddress": "0.0.0.0"}, "HealthzBindAddress", "must be IP:port"),
    "no address": ({"metricsBindAddress": "host:1"}, "MetricsBindAddress", "must be a valid IP"),
    "a port beyond 65535": ({"metricsBindAddress": "127.0.0.1:70000"}, "MetricsBindAddress", "must be a valid port"),
    "primary and CIDRs": (
        {"nodePortAddresses": ["primary", "10.0.0.0/8"]},
        "NodePortAddresses[0]",
        "can't use both 'primary' and CIDRs",
    ),
    "node ports on what is no CIDR": (
        {"nodePortAddresses": ["10.0.0.1"]},
        "NodePortAddresses[0]",
        "must be a valid CIDR",
    ),
    "a bridge without a name": (
        {"detectLocalMode": "BridgeInterface"},
        "DetectLocalConfiguration.InterfaceName",
        "must not be empty",
    ),
    "a prefix of nothing": (
        {"detectLocalMode": "InterfaceNamePrefix"},
        "DetectLocalConfiguration.InterfacePrefix",
        "must not be empty",
    ),
    "a score beyond what there is": ({"oomScoreAdj": 1001}, "OOMScoreAdj", "must be within the range [-1000, 1000]"),
    "fewer flows than none": (
        {"conntrack.min": -1},
        "KubeProxyConntrackConfiguration.Min",
        "must be greater than or equal to 0",
    ),
    "a negative timeout": (
        {"conntrack.udpTimeout": "-1s"},
        "KubeProxyConntrackConfiguration.UDPTimeout",
        "must be greater than or equal to 0",
    ),
}


@pytest.mark.parametrize(("changes", "path", "text"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_upstreams_words(changes: dict[str, Any], path: str, text: str) -> None:
    found = [(error.path, error.detail) for error in validate_settings(default_values() | changes)]
    assert found == [(f"KubeProxyConfiguration.{path}", text)]


def test_the_defaults_are_valid_and_survive_a_file() -> None:
    assert validate_settings(default_values()) == []
    assert decode_settings(encode_yaml(encode_tree(default_values()))) == (default_values(), ())


KUBEADM = (
    HEAD
    + b"""
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
windowsRunAsService: false
"""
)


def test_what_kubeadm_writes_is_the_default_and_nothing_to_warn_of() -> None:
    """It writes every field, most of them as nothing, which stands for the default. Rule: kube-proxy's defaults.go."""
    values, warnings = decode_settings(KUBEADM)
    assert warnings == ()
    assert values == default_values() | {
        "clusterCIDR": "10.244.0.0/16",
        "clientConnection.kubeconfig": "/var/lib/kube-proxy/kubeconfig.conf",
        "winkernel": values["winkernel"],
        "logging": values["logging"],
    }
    assert validate_settings(values) == []


def test_a_zero_that_a_flag_says_is_meant() -> None:
    assert complete_flags({"nftables.minSyncPeriod": "0s"})["nftables.minSyncPeriod"] == "0s"
    assert "must be greater than 0" in [e.detail for e in validate_settings(complete_flags({"configSyncPeriod": "0s"}))]


EXAMPLES: dict[str, Any] = {
    "bindAddress": "192.0.2.1", "healthzBindAddress": "127.0.0.1:1", "metricsBindAddress": "127.0.0.1:2",
    "bindAddressHardFail": True, "enableProfiling": True, "showHiddenMetricsForVersion": "1.35", "mode": "ipvs",
    "hostnameOverride": "n", "clientConnection.kubeconfig": "/k", "clientConnection.contentType": "application/yaml",
    "clientConnection.acceptContentTypes": "application/yaml", "clientConnection.qps": 1, "clientConnection.burst": 1,
    "iptables.masqueradeBit": 3, "iptables.masqueradeAll": True, "iptables.localhostNodePorts": False,
    "iptables.syncPeriod": "10s", "iptables.minSyncPeriod": "2s", "ipvs.syncPeriod": "1s", "ipvs.minSyncPeriod": "1s",
    "ipvs.scheduler": "lc", "ipvs.excludeCIDRs": ["10.0.0.0/8"], "ipvs.strictARP": True, "ipvs.tcpTimeout": "1s",
    "ipvs.tcpFinTimeout": "1s", "ipvs.udpTimeout": "1s", "nftables.masqueradeBit": 3, "nftables.masqueradeAll": True,
    "nftables.syncPeriod": "10s", "nftables.minSyncPeriod": "2s", "detectLocalMode": "NodeCIDR",
    "detectLocal.bridgeInterface": "cni0", "detectLocal.interfaceNamePrefix": "veth", "clusterCIDR": "10.0.0.0/8",
    "nodePortAddresses": ["10.0.0.0/8"], "oomScoreAdj": 1, "conntrack.maxPerCore": 999999, "conntrack.min": 999999,
    "conntrack.tcpEstablishedTimeout": "1s", "conntrack.tcpCloseWaitTimeout": "1s", "conntrack.tcpBeLiberal": True,
    "conntrack.udpTimeout": "1s", "conntrack.udpStreamTimeout": "1s", "configSyncPeriod": "1s", "portRange": "1-2",
    "winkernel": {"enableDSR": True}, "windowsRunAsService": True, "featureGates": {"X": True},
    "logging": {"verbosity": 4},
}  # fmt: skip
MODES = {
    "nftables": {"mode": "nftables"},
    "detectLocal.bridgeInterface": {"detectLocalMode": "BridgeInterface"},
    "detectLocal.interfaceNamePrefix": {"detectLocalMode": "InterfaceNamePrefix"},
}
BY_THE_VERB = {"hostnameOverride", "clientConnection.kubeconfig"}


def effect(values: dict[str, Any]) -> dict[str, Any]:
    return {**make_proxy_settings(values), "shown": None, "sysctls": plan_sysctls(values, 1)}


@pytest.mark.parametrize("setting", SETTINGS, ids=[setting.path for setting in SETTINGS])
def test_every_field_is_applied_or_said_aloud_to_be_ignored(setting: Setting) -> None:
    said = {setting.path: EXAMPLES[setting.path]}
    tree = encode_tree(said)
    values, warnings = decode_settings(encode_yaml(tree))
    assert values[setting.path] == said[setting.path]
    if setting.ignored:
        silent = () if said[setting.path] == setting.quiet else (f"{setting.path} is ignored: {setting.ignored}",)
        assert warnings == silent
        return
    assert warnings == ()
    if setting.path in BY_THE_VERB:
        return  # the verb reads it: tests/cli/of_proxy
    mode = MODES.get(setting.path) or MODES.get(setting.path.partition(".")[0], {})
    others = {"detectLocal.bridgeInterface": "x", "detectLocal.interfaceNamePrefix": "x"} if mode else {}
    assert effect(default_values() | others | mode | said) != effect(default_values() | others | mode)


def test_a_default_that_is_said_is_no_reason_to_warn() -> None:
    assert decode_settings(encode_yaml(encode_tree(default_values())))[1] == ()


@pytest.mark.parametrize(
    ("mode", "section"), [("", "iptables"), ("iptables", "iptables"), ("ipvs", "iptables"), ("nftables", "nftables")]
)
def test_only_the_section_of_the_mode_counts(mode: str, section: str) -> None:
    values = default_values() | {"mode": mode, f"{section}.masqueradeAll": True, f"{section}.masqueradeBit": 5}
    settings = make_proxy_settings(values)
    assert (settings["masquerade_all"], settings["masquerade_bit"]) == (True, 5)
    other = {"iptables": "nftables", "nftables": "iptables"}[section]
    values = default_values() | {"mode": mode, f"{other}.masqueradeAll": True}
    assert not make_proxy_settings(values)["masquerade_all"]


@pytest.mark.parametrize("mode", ["", "iptables", "ipvs", "nftables"])
def test_a_flag_holds_for_every_mode(mode: str) -> None:
    settings = make_proxy_settings(complete_flags({"mode": mode, "nftables.masqueradeAll": True}))
    assert settings["masquerade_all"]


def test_a_change_may_wait_for_twice_the_period() -> None:
    values = complete_flags({"nftables.syncPeriod": "10s"})
    assert make_proxy_settings(values)["health_timeout_seconds"] == 20


ADDRESSES = {
    "an address without a port gets the usual one": ("127.0.0.1", "127.0.0.1:10256"),
    "one of IPv6 too": ("::1", "[::1]:10256"),
    "one in brackets too": ("[::1]", "[::1]:10256"),
    "a port that is there stays": ("127.0.0.1:7", "127.0.0.1:7"),
    "what is no address stays, to be refused": ("localhost", "localhost"),
}


@pytest.mark.parametrize(("text", "wanted"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_where_pages_are(text: str, wanted: str) -> None:
    assert complete_settings({"healthzBindAddress": text})["healthzBindAddress"] == wanted


def test_pages_follow_the_family_of_the_bind_address() -> None:
    values = complete_settings({"bindAddress": "2001:db8::1"})
    assert (values["healthzBindAddress"], values["metricsBindAddress"]) == ("[::]:10256", "[::1]:10249")


def test_a_port_of_nothing_is_nowhere() -> None:
    assert replace_port("[::1]:10249", 7) == "[::1]:7"
    assert replace_port("0.0.0.0:10256", 0) == ""
    values = complete_flags({}) | {"healthzBindAddress": ""}
    assert validate_settings(values) == []
    assert make_proxy_settings(values)["healthz_address"] is None


def test_unknown_fields_are_warned_of() -> None:
    values, warnings = decode_settings(HEAD + b"nonsense: 1\nconntrack: {min: 7, max: 9}\n")
    assert values["conntrack.min"] == 7
    assert warnings == ('unknown field "nonsense"', 'unknown field "conntrack.max"')


@pytest.mark.parametrize("body", [b"", b"[]", b"kind: Pod", HEAD + b"oomScoreAdj: high", HEAD + b"conntrack: 5"])
def test_what_is_no_configuration_is_refused(body: bytes) -> None:
    with pytest.raises(SettingsError):
        decode_settings(body)


SYSCTLS = {
    "the larger of both": ({}, 8, 262144),
    "at least the minimum": ({}, 1, 131072),
    "never beyond the cap": ({}, 64, 1048576),
    "zero leaves it alone": ({"conntrack.maxPerCore": 0}, 8, None),
}


@pytest.mark.parametrize(("changes", "cpus", "limit"), SYSCTLS.values(), ids=SYSCTLS.keys())
def test_how_many_flows_are_tracked(changes: dict[str, Any], cpus: int, limit: int | None) -> None:
    assert plan_sysctls(default_values() | changes, cpus).get("net/netfilter/nf_conntrack_max") == limit


def test_what_the_proxy_runs_with() -> None:
    values = default_values() | {
        "detectLocalMode": "NodeCIDR",
        "bindAddress": "192.0.2.1",
        "nodePortAddresses": ["primary"],
    }
    settings = make_proxy_settings(values)
    assert settings["detect_local"] is DetectLocal.NODE_CIDR
    assert settings["node_ip"] == "192.0.2.1"
    assert settings["node_port_addresses"] is None
    assert settings["healthz_address"] == ("0.0.0.0", 10256)
