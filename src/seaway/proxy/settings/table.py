"""Every field of KubeProxyConfiguration, its default and its flag. Rule: spec "proxy" §10.1."""

from __future__ import annotations

import copy
import enum
from collections.abc import Iterator
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
    """One field. `flag` is empty for what only a file can say; `text` is the flag's help."""

    path: str
    kind: Kind
    default: Any
    flag: str = ""
    text: str = ""


_T, _F, _N, _D, _L, _M = Kind.TEXT, Kind.FLAG, Kind.NUMBER, Kind.DURATION, Kind.LIST, Kind.MAP
SETTINGS = (
    Setting("bindAddress", _T, "0.0.0.0", "bind-address", "The node's primary address; nothing is bound."),
    Setting("healthzBindAddress", _T, "0.0.0.0:10256", "healthz-bind-address", "Where /healthz and /livez are."),
    Setting("metricsBindAddress", _T, "127.0.0.1:10249", "metrics-bind-address", "Where /metrics and /proxyMode are."),
    Setting("bindAddressHardFail", _F, False, "bind-address-hard-fail", "An address that is taken ends the proxy."),
    Setting("enableProfiling", _F, False, "profiling", "Accepted; there is no profiling."),
    Setting("showHiddenMetricsForVersion", _T, "", "show-hidden-metrics-for-version", "Accepted; none is hidden."),
    Setting("mode", _T, "", "proxy-mode", "Accepted; it is always nftables."),
    Setting("hostnameOverride", _T, ""),
    Setting("clientConnection.kubeconfig", _T, ""),
    Setting("clientConnection.contentType", _T, "application/vnd.kubernetes.protobuf", "kube-api-content-type",
            "Accepted; it is JSON."),
    Setting("clientConnection.acceptContentTypes", _T, ""),
    Setting("clientConnection.qps", _N, 5, "kube-api-qps", "Accepted; the proxy hardly asks."),
    Setting("clientConnection.burst", _N, 10, "kube-api-burst", "Accepted."),
    Setting("iptables.masqueradeBit", _N, 14),
    Setting("iptables.masqueradeAll", _F, False),
    Setting("iptables.localhostNodePorts", _F, True),
    Setting("iptables.syncPeriod", _D, "30s"),
    Setting("iptables.minSyncPeriod", _D, "1s"),
    Setting("ipvs.syncPeriod", _D, "30s"),
    Setting("ipvs.minSyncPeriod", _D, "0s"),
    Setting("ipvs.scheduler", _T, ""),
    Setting("ipvs.excludeCIDRs", _L, None),
    Setting("ipvs.strictARP", _F, False),
    Setting("ipvs.tcpTimeout", _D, "0s"),
    Setting("ipvs.tcpFinTimeout", _D, "0s"),
    Setting("ipvs.udpTimeout", _D, "0s"),
    Setting("nftables.masqueradeBit", _N, 14, "iptables-masquerade-bit", "The bit of the mark that is used."),
    Setting("nftables.masqueradeAll", _F, False),
    Setting("nftables.syncPeriod", _D, "30s", "iptables-sync-period", "Accepted."),
    Setting("nftables.minSyncPeriod", _D, "1s", "iptables-min-sync-period", "Accepted; changes are synced at once."),
    Setting("detectLocalMode", _T, "", "detect-local-mode",
            "ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix: how Pods are known."),
    Setting("detectLocal.bridgeInterface", _T, "", "pod-bridge-interface", "The link that Pods come in by."),
    Setting("detectLocal.interfaceNamePrefix", _T, "", "pod-interface-name-prefix", "How Pods' links start."),
    Setting("clusterCIDR", _T, ""),
    Setting("nodePortAddresses", _L, None),
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
    Setting("configSyncPeriod", _D, "15m0s", "config-sync-period", "Accepted; nothing is read again for its own sake."),
    Setting("portRange", _T, ""),
    Setting("winkernel", _M, None),
    Setting("windowsRunAsService", _F, False),
    Setting("featureGates", _M, None, ""),
    Setting("logging", _M, None),
)  # fmt: skip
BY_PATH = {setting.path: setting for setting in SETTINGS}
_GROUPS = {path.partition(".")[0] for path in BY_PATH if "." in path}
_TYPES: dict[Kind, type | tuple[type, ...]] = {
    Kind.TEXT: str, Kind.FLAG: bool, Kind.NUMBER: (int, float), Kind.DURATION: str, Kind.LIST: list, Kind.MAP: dict,
}  # fmt: skip
_DEFAULTED_WHEN_ZERO = frozenset(("iptables.minSyncPeriod", "nftables.minSyncPeriod"))


def default_values() -> dict[str, Any]:
    """By path."""
    return {setting.path: copy.copy(setting.default) for setting in SETTINGS}


def decode_settings(body: bytes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Values by path, defaults filled in, and what is to be warned of: unknown and duplicate fields.

    Raises SettingsError for what is no KubeProxyConfiguration.
    """
    try:
        tree, findings = parse_yaml(body)
    except YamlError as error:
        raise SettingsError(str(error)) from None
    if not isinstance(tree, dict) or (tree.get("apiVersion"), tree.get("kind")) != (API_VERSION, KIND):
        raise SettingsError(f"no configuration of a proxy; apiVersion: {API_VERSION} and kind: {KIND} needed")
    warnings = list(findings)
    values = default_values()
    for path, value in _leaves(tree):
        setting = BY_PATH.get(path)
        if setting is None:
            warnings.append(f'unknown field "{path}"')
        elif value is not None:
            _check_type(setting, value)
            if value not in ("", None) and not _is_defaulted(path, value):
                values[path] = value
    if ":" in values["bindAddress"]:  # the defaults follow its family
        for path, (zero, six) in {
            "healthzBindAddress": ("0.0.0.0:10256", "[::]:10256"),
            "metricsBindAddress": ("127.0.0.1:10249", "[::1]:10249"),
        }.items():
            values[path] = six if values[path] == zero else values[path]
    return values, tuple(warnings)


def encode_tree(values: dict[str, Any]) -> Tree:
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


def _is_defaulted(path: str, value: Any) -> bool:
    return path in _DEFAULTED_WHEN_ZERO and parse_duration(value) == 0


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
