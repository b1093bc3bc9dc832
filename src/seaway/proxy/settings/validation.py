"""What a configuration may say. Rule: spec "proxy" §10.2 (the messages are upstream's)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from seaway.api.machinery.field import FieldError, invalid, not_supported
from seaway.proxy.config import DetectLocal, is_network
from seaway.proxy.settings.table import seconds_of

ROOT = "KubeProxyConfiguration"
_CIDR_PAIR = "must be a either a single CIDR or dual-stack pair of CIDRs (e.g. [10.100.0.0/16, fde4:8dba:82e1::/48]"
_CIDR = "must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)"
_MODE = "must be iptables, ipvs, nftables or blank (blank means the best-available proxy [currently iptables])"
_NOT_NEGATIVE = "must be greater than or equal to 0"
_CONNTRACK_DURATIONS = ("tcpEstablishedTimeout", "tcpCloseWaitTimeout", "udpTimeout", "udpStreamTimeout")


def validate_settings(values: dict[str, Any]) -> list[FieldError]:
    """All that is wrong with it."""
    return [*_of_mode(values), *_of_addresses(values), *_of_detection(values), *_of_numbers(values)]


def _of_mode(values: dict[str, Any]) -> Iterator[FieldError]:
    yield from _of_section(values, "iptables", "KubeProxyIPTablesConfiguration")
    if values["mode"] == "nftables":
        yield from _of_section(values, "nftables", "KubeProxyNFTablesConfiguration")
    if values["mode"] == "ipvs":
        yield from _of_section(values, "ipvs", "KubeProxyIPVSConfiguration")
        for name in ("tcpTimeout", "tcpFinTimeout", "udpTimeout"):
            if seconds_of(values, f"ipvs.{name}") < 0:
                path = f"{ROOT}.KubeProxyIPVSConfiguration.{_upper(name)}"
                yield invalid(path, values[f"ipvs.{name}"], _NOT_NEGATIVE)
    if seconds_of(values, "configSyncPeriod") <= 0:
        yield invalid(f"{ROOT}.ConfigSyncPeriod", values["configSyncPeriod"], "must be greater than 0")
    if values["mode"] not in ("", "iptables", "ipvs", "nftables"):
        yield invalid(f"{ROOT}.Mode.ProxyMode", values["mode"], _MODE)


def _of_section(values: dict[str, Any], section: str, name: str) -> Iterator[FieldError]:
    """What the section of a mode says. Upstream looks at that of iptables in every mode."""
    bit = values.get(f"{section}.masqueradeBit", 0)
    if not 0 <= bit <= 31:
        yield invalid(f"{ROOT}.{name}.MasqueradeBit", bit, "must be within the range [0, 31]")
    period, least = values[f"{section}.syncPeriod"], values[f"{section}.minSyncPeriod"]
    seconds, least_seconds = (seconds_of(values, f"{section}.{path}") for path in ("syncPeriod", "minSyncPeriod"))
    if seconds <= 0:
        yield invalid(f"{ROOT}.{name}.SyncPeriod", period, "must be greater than 0")
    if least_seconds < 0:
        yield invalid(f"{ROOT}.{name}.MinSyncPeriod", least, _NOT_NEGATIVE)
    if least_seconds > seconds:
        yield invalid(f"{ROOT}.{name}.SyncPeriod", least, f"must be greater than or equal to {ROOT}.MinSyncPeriod")


def _upper(name: str) -> str:
    """`TCPTimeout` of `tcpTimeout`: as Go writes the field."""
    return f"{name[:3].upper()}{name[3:]}"


def _of_addresses(values: dict[str, Any]) -> Iterator[FieldError]:
    if not _is_address(values["bindAddress"]):
        text = "not a valid textual representation of an IP address"
        yield invalid(f"{ROOT}.BindAddress", values["bindAddress"], text)
    for path, name in (("healthzBindAddress", "HealthzBindAddress"), ("metricsBindAddress", "MetricsBindAddress")):
        if values[path]:  # an empty flag: nowhere
            yield from _of_bind_address(f"{ROOT}.{name}", values[path])
    chosen = values["nodePortAddresses"] or []
    for index, text in enumerate(chosen):
        path = f"{ROOT}.NodePortAddresses[{index}]"
        if text == "primary":
            if len(chosen) > 1:
                yield invalid(path, text, "can't use both 'primary' and CIDRs")
        elif not is_network(text):
            yield invalid(path, text, "must be a valid CIDR")


def _of_bind_address(path: str, text: str) -> Iterator[FieldError]:
    host, colon, port = text.rpartition(":")
    is_bare_six = ":" in host and host[:1] + host[-1:] != "[]"
    if not colon or is_bare_six:
        yield invalid(path, text, "must be IP:port")
        return
    if not _is_address(host.strip("[]")):
        yield invalid(path, host.strip("[]"), "must be a valid IP")
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= 65535):
        yield invalid(path, port, "must be a valid port")


def _of_detection(values: dict[str, Any]) -> Iterator[FieldError]:
    mode = values["detectLocalMode"]
    supported = sorted(one.value for one in DetectLocal)
    section = f"{ROOT}.DetectLocalConfiguration"
    if mode and mode not in supported:
        yield not_supported(f"{ROOT}.DetectLocalMode", mode, [*supported, ""])
    if mode == DetectLocal.BRIDGE_INTERFACE.value and not values["detectLocal.bridgeInterface"]:
        yield invalid(f"{section}.InterfaceName", "", "must not be empty")
    if mode == DetectLocal.INTERFACE_NAME_PREFIX.value and not values["detectLocal.interfaceNamePrefix"]:
        yield invalid(f"{section}.InterfacePrefix", "", "must not be empty")
    cidrs = [cidr for cidr in values["clusterCIDR"].split(",") if cidr]
    bad = [cidr for cidr in cidrs if not is_network(cidr)]
    for cidr in bad:
        yield invalid(f"{section}.ClusterCIDRs", cidr, _CIDR)
    versions = [ipaddress.ip_network(cidr, strict=False).version for cidr in cidrs if cidr not in bad]
    if len(cidrs) > 2 or (len(versions) == 2 and len(set(versions)) == 1):
        yield invalid(f"{section}.ClusterCIDRs", cidrs, _CIDR_PAIR)


def _of_numbers(values: dict[str, Any]) -> Iterator[FieldError]:
    score = values["oomScoreAdj"]
    if not -1000 <= score <= 1000:
        yield invalid(f"{ROOT}.OOMScoreAdj", score, "must be within the range [-1000, 1000]")
    if values["clientConnection.burst"] < 0:
        yield invalid(f"{ROOT}.ClientConnection.Burst", values["clientConnection.burst"], "must be non-negative")
    section = f"{ROOT}.KubeProxyConntrackConfiguration"
    for path, name in (("conntrack.maxPerCore", "MaxPerCore"), ("conntrack.min", "Min")):
        if values[path] < 0:
            yield invalid(f"{section}.{name}", values[path], _NOT_NEGATIVE)
    for name in _CONNTRACK_DURATIONS:
        if seconds_of(values, f"conntrack.{name}") < 0:
            yield invalid(f"{section}.{_upper(name)}", values[f"conntrack.{name}"], _NOT_NEGATIVE)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
