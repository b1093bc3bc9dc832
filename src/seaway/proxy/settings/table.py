"""Every field of KubeProxyConfiguration: its default, its flag, and whether it is applied. Rule: spec "proxy" §10.1."""

from __future__ import annotations

import copy
import enum
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.duration import DurationError, parse_duration
from seaway.api.machinery.yaml_codec import YamlError, parse_yaml
from seaway.net.errors import OperationalError

API_VERSION = "kubeproxy.config.k8s.io/v1alpha1"
KIND = "KubeProxyConfiguration"
Tree = dict[str, Any]


class SettingsError(OperationalError):
    """A configuration that cannot be used."""


class Kind(enum.Enum):
    """What a field holds."""

    TEXT = "string"
    FLAG = "boolean"
    NUMBER = "number"
    DURATION = "duration"
    LIST = "list of strings"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Setting:
    """One field. `flag` is empty for what only a file can say; `text` is the flag's help.

    ignored: why it changes nothing; "": it is applied. quiet: the value that says what is done anyway.
    zero: 0 is no value, but stands for the default. Rule: kube-proxy's defaults.go.
    """

    path: str
    kind: Kind
    default: Any
    flag: str = ""
    text: str = ""
    ignored: str = ""
    quiet: Any = None
    zero: bool = False


_T, _F, _N, _D, _L, _M = Kind.TEXT, Kind.FLAG, Kind.NUMBER, Kind.DURATION, Kind.LIST, Kind.MAP
_AT_ONCE = "changes are synced at once"
_NO_IPVS = "there is no ipvs mode"
_NO_WINDOWS = "this is Linux"
SETTINGS = (
    Setting("bindAddress", _T, "0.0.0.0", "bind-address", "The node's primary address; nothing is bound."),
    Setting("healthzBindAddress", _T, "0.0.0.0:10256", "healthz-bind-address", "Where /healthz and /livez are."),
    Setting("metricsBindAddress", _T, "127.0.0.1:10249", "metrics-bind-address", "Where /metrics and /proxyMode are."),
    Setting("bindAddressHardFail", _F, False, "bind-address-hard-fail", "An address that is taken ends the proxy."),
    Setting("enableProfiling", _F, False, "profiling", ignored="there is no profiling"),
    Setting("showHiddenMetricsForVersion", _T, "", "show-hidden-metrics-for-version", ignored="no metric is hidden"),
    Setting("mode", _T, "", "proxy-mode",
            ignored="the rules are always nftables; only the section of that mode counts", quiet="nftables"),
    Setting("hostnameOverride", _T, ""),
    Setting("clientConnection.kubeconfig", _T, ""),
    Setting("clientConnection.contentType", _T, "application/vnd.kubernetes.protobuf", "kube-api-content-type",
            ignored="objects come as JSON", quiet="application/json"),
    Setting("clientConnection.acceptContentTypes", _T, "", ignored="objects come as JSON", quiet="application/json"),
    Setting("clientConnection.qps", _N, 5, "kube-api-qps", ignored="the proxy watches, and hardly asks", zero=True),
    Setting("clientConnection.burst", _N, 10, "kube-api-burst", ignored="the proxy watches, and hardly asks",
            zero=True),
    Setting("iptables.masqueradeBit", _N, 14),
    Setting("iptables.masqueradeAll", _F, False),
    Setting("iptables.localhostNodePorts", _F, True, "iptables-localhost-nodeports",
            ignored="node ports are not served on loopback", quiet=False),
    Setting("iptables.syncPeriod", _D, "30s", zero=True),
    Setting("iptables.minSyncPeriod", _D, "1s", ignored=_AT_ONCE, zero=True),
    Setting("ipvs.syncPeriod", _D, "30s", "ipvs-sync-period", ignored=_NO_IPVS, zero=True),
    Setting("ipvs.minSyncPeriod", _D, "0s", "ipvs-min-sync-period", ignored=_NO_IPVS),
    Setting("ipvs.scheduler", _T, "", "ipvs-scheduler",
            ignored=f"{_NO_IPVS}; the annotation seaway.dev/balance chooses for each Service"),
    Setting("ipvs.excludeCIDRs", _L, None, "ipvs-exclude-cidrs", ignored=_NO_IPVS, quiet=[]),
    Setting("ipvs.strictARP", _F, False, "ipvs-strict-arp", ignored=f"{_NO_IPVS}, and no address on any link"),
    Setting("ipvs.tcpTimeout", _D, "0s", "ipvs-tcp-timeout", ignored=_NO_IPVS),
    Setting("ipvs.tcpFinTimeout", _D, "0s", "ipvs-tcpfin-timeout", ignored=_NO_IPVS),
    Setting("ipvs.udpTimeout", _D, "0s", "ipvs-udp-timeout", ignored=_NO_IPVS),
    Setting("nftables.masqueradeBit", _N, 14, "iptables-masquerade-bit", "The bit of the mark that is used."),
    Setting("nftables.masqueradeAll", _F, False, "masquerade-all", "Hide every client behind the node."),
    Setting("nftables.syncPeriod", _D, "30s", "iptables-sync-period",
            "Half of how long a change may wait before /healthz tells; it is synced at once.", zero=True),
    Setting("nftables.minSyncPeriod", _D, "1s", "iptables-min-sync-period", ignored=_AT_ONCE, zero=True),
    Setting("detectLocalMode", _T, "", "detect-local-mode",
            "ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix: how Pods are known."),
    Setting("detectLocal.bridgeInterface", _T, "", "pod-bridge-interface", "The link that Pods come in by."),
    Setting("detectLocal.interfaceNamePrefix", _T, "", "pod-interface-name-prefix", "How Pods' links start."),
    Setting("clusterCIDR", _T, "", "cluster-cidr", "Addresses of Pods: a, or a,b for two families."),
    Setting("nodePortAddresses", _L, None, "nodeport-addresses",
            "CIDRs of this host that serve node ports, or primary.  [default: primary]"),
    Setting("oomScoreAdj", _N, -999, "oom-score-adj", "How late the kernel ends this process when memory is short."),
    Setting("conntrack.maxPerCore", _N, 32768, "conntrack-max-per-core", "Flows to track per CPU; 0 leaves it alone."),
    Setting("conntrack.min", _N, 131072, "conntrack-min", "Flows to track at least."),
    Setting("conntrack.tcpEstablishedTimeout", _D, "24h0m0s", "conntrack-tcp-timeout-established",
            "How long a TCP flow may be idle; 0 leaves it alone."),
    Setting("conntrack.tcpCloseWaitTimeout", _D, "1h0m0s", "conntrack-tcp-timeout-close-wait",
            "How long a half-closed one may be; 0 leaves it alone."),
    Setting("conntrack.tcpBeLiberal", _F, False, "conntrack-tcp-be-liberal", "Track packets out of window too."),
    Setting("conntrack.udpTimeout", _D, "0s", "conntrack-udp-timeout", "For UDP without an answer; 0 leaves it alone."),
    Setting("conntrack.udpStreamTimeout", _D, "0s", "conntrack-udp-timeout-stream", "For UDP with answers."),
    Setting("configSyncPeriod", _D, "15m0s", "config-sync-period", ignored="nothing is read again for its own sake",
            zero=True),
    Setting("portRange", _T, "", ignored="no proxy uses it"),
    Setting("winkernel", _M, None, ignored=_NO_WINDOWS),
    Setting("windowsRunAsService", _F, False, ignored=_NO_WINDOWS),
    Setting("featureGates", _M, None, "feature-gates", ignored="there are no gates"),
    Setting("logging", _M, None, ignored="the log is lines of key=value"),
)  # fmt: skip
BY_PATH = {setting.path: setting for setting in SETTINGS}
_GROUPS = {path.partition(".")[0] for path in BY_PATH if "." in path}
_TYPES: dict[Kind, type | tuple[type, ...]] = {
    Kind.TEXT: str, Kind.FLAG: bool, Kind.NUMBER: (int, float), Kind.DURATION: str, Kind.LIST: list, Kind.MAP: dict,
}  # fmt: skip
_PORTS = {"healthzBindAddress": 10256, "metricsBindAddress": 10249}
OF_THE_MODE = ("masqueradeBit", "masqueradeAll", "syncPeriod", "minSyncPeriod")
"""What the sections of the modes both have."""


def default_values() -> dict[str, Any]:
    """By path."""
    return {setting.path: copy.copy(setting.default) for setting in SETTINGS}


def decode_settings(body: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Values by path, defaults filled in, and what is to be warned of: unknown, duplicate and ignored fields.

    Raises SettingsError for what is no KubeProxyConfiguration.
    """
    try:
        tree, findings = parse_yaml(body)
    except YamlError as error:
        raise SettingsError(str(error)) from None
    if not isinstance(tree, dict) or (tree.get("apiVersion"), tree.get("kind")) != (API_VERSION, KIND):
        raise SettingsError(f"no configuration of a proxy; apiVersion: {API_VERSION} and kind: {KIND} needed")
    warnings = list(findings)
    said: dict[str, Any] = {}
    for path, value in _leaves(tree):
        setting = BY_PATH.get(path)
        if setting is None:
            warnings.append(f'unknown field "{path}"')
        elif value is not None:
            _check_type(setting, value)
            if value != "" and not _stands_for_default(setting, value):
                said[path] = value
    return complete_settings(said), (*warnings, *find_ignored(said))


def complete_settings(said: Mapping[str, Any]) -> dict[str, Any]:
    """What was said, with defaults for the rest; those of pages follow the family of bindAddress."""
    values = default_values() | dict(said)
    hosts = ("[::]", "[::1]") if ":" in values["bindAddress"] else ("0.0.0.0", "127.0.0.1")
    for (path, port), host in zip(_PORTS.items(), hosts, strict=True):
        values[path] = _with_port(said[path], port) if path in said else f"{host}:{port}"
    return values


def complete_flags(said: Mapping[str, Any]) -> dict[str, Any]:
    """The same of flags, which hold for any mode. Raises SettingsError."""
    for path, value in said.items():
        _check_type(BY_PATH[path], value)
    mirrored = {
        f"iptables.{name}": said[f"nftables.{name}"] for name in OF_THE_MODE if f"nftables.{name}" in said
    }  # fmt: skip
    return complete_settings({**mirrored, **said})


def find_ignored(said: Mapping[str, Any]) -> tuple[str, ...]:
    """What changes nothing, and why; in the order of the fields."""
    return tuple(
        f"{setting.path} is ignored: {setting.ignored}"
        for setting in SETTINGS
        if setting.ignored and _asks_for_something(setting, said.get(setting.path, setting.default))
    )


def _asks_for_something(setting: Setting, value: Any) -> bool:
    if setting.kind is Kind.MAP:
        return _has_content(value)
    if setting.kind is Kind.DURATION:
        return parse_duration(value) != parse_duration(setting.default)
    return value not in (setting.default, setting.quiet)


def _has_content(value: Any) -> bool:
    """Something in a tree is neither empty, 0, false nor "0"."""
    return any(map(_has_content, value.values())) if isinstance(value, dict) else value not in (None, "", 0, "0", [])


def replace_port(address: str, port: int) -> str:
    """The address with another port; 0: none, nobody listens then. Rule: spec "proxy" §10.1 (the deprecated flags)."""
    return f"{address.rpartition(':')[0]}:{port}" if port else ""


def _with_port(text: str, port: int) -> str:
    """The address with this port, if it has none."""
    try:
        address = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return text
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def encode_tree(values: Mapping[str, Any]) -> Tree:
    """The configuration as a file has it, apiVersion and kind first."""
    tree: Tree = {"apiVersion": API_VERSION, "kind": KIND}
    for path, value in values.items():
        group, _, name = path.rpartition(".")
        (tree.setdefault(group, {}) if group else tree)[name] = value
    return tree


def seconds_of(values: dict[str, Any], path: str) -> float:
    """A duration's seconds. Raises SettingsError."""
    try:
        return parse_duration(values[path])
    except DurationError as error:
        raise SettingsError(f"{path}: {error}") from None


def _stands_for_default(setting: Setting, value: Any) -> bool:
    if not setting.zero:
        return False
    return bool(value == 0 if setting.kind is Kind.NUMBER else parse_duration(value) == 0)


def _check_type(setting: Setting, value: Any) -> None:
    expected = _TYPES[setting.kind]
    is_right = isinstance(value, expected) and (setting.kind is Kind.FLAG or not isinstance(value, bool))
    if setting.kind is Kind.LIST and is_right:
        is_right = all(isinstance(item, str) for item in value)
    if not is_right:
        raise SettingsError(f"{setting.path}: a {setting.kind.value} is needed, {type(value).__name__} found")
    if setting.kind is Kind.DURATION:
        seconds_of({setting.path: value}, setting.path)


def _leaves(tree: Tree) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if name in ("apiVersion", "kind"):
            continue
        if name in _GROUPS and isinstance(value, dict):
            yield from ((f"{name}.{inner}", found) for inner, found in value.items())
        elif name in _GROUPS and value is not None:
            raise SettingsError(f"{name}: a map is needed, {type(value).__name__} found")
        elif name not in _GROUPS:
            yield str(name), value
