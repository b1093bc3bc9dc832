"""From a configuration to what the proxy runs with. Rule: spec "proxy" §6.2, §10.1."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from seaway.proxy.config import DetectLocal
from seaway.proxy.settings.table import SettingsError, encode_tree, seconds_of
from seaway.proxy.settings.validation import validate_settings

CONNTRACK_MAX = 1048576


def make_proxy_settings(values: dict[str, Any]) -> dict[str, Any]:
    """Arguments of ProxyConfig, but for the node's name. Raises SettingsError, with all that is wrong."""
    if wrong := validate_settings(values):
        raise SettingsError("; ".join(map(str, wrong)))
    mode = DetectLocal(values["detectLocalMode"] or DetectLocal.CLUSTER_CIDR.value)
    links = {
        DetectLocal.BRIDGE_INTERFACE: values["detectLocal.bridgeInterface"],
        DetectLocal.INTERFACE_NAME_PREFIX: values["detectLocal.interfaceNamePrefix"],
    }
    addresses = tuple(values["nodePortAddresses"] or ())
    bind = ipaddress.ip_address(values["bindAddress"])
    section = find_section(values)
    return {
        "cluster_cidrs": tuple(cidr for cidr in values["clusterCIDR"].split(",") if cidr),
        "detect_local": mode,
        "pod_link": links.get(mode, ""),
        "node_ip": "" if bind.is_unspecified else str(bind),
        "masquerade_bit": values[f"{section}.masqueradeBit"],
        "masquerade_all": values[f"{section}.masqueradeAll"],
        "node_port_addresses": None if addresses in ((), ("primary",)) else addresses,
        "healthz_address": split_address(values["healthzBindAddress"]),
        "metrics_address": split_address(values["metricsBindAddress"]),
        "bind_address_hard_fail": values["bindAddressHardFail"],
        "oom_score": values["oomScoreAdj"],
        "health_timeout_seconds": 2 * seconds_of(values, f"{section}.syncPeriod"),
        "shown": encode_tree(values),
    }


def find_section(values: Mapping[str, Any]) -> str:
    """The section whose masquerading counts: that of the mode; ipvs has that of iptables."""
    return "nftables" if values["mode"] == "nftables" else "iptables"


def plan_sysctls(values: dict[str, Any], cpus: int) -> dict[str, int]:
    """Names under /proc/sys and the numbers to write."""
    wanted: dict[str, int] = {}
    if values["conntrack.maxPerCore"] > 0:
        scaled = values["conntrack.maxPerCore"] * cpus
        wanted["net/netfilter/nf_conntrack_max"] = (
            CONNTRACK_MAX if scaled > CONNTRACK_MAX else max(scaled, values["conntrack.min"])
        )
    for path, name in (
        ("tcpEstablishedTimeout", "tcp_timeout_established"),
        ("tcpCloseWaitTimeout", "tcp_timeout_close_wait"),
        ("udpTimeout", "udp_timeout"),
        ("udpStreamTimeout", "udp_timeout_stream"),
    ):
        if seconds := int(seconds_of(values, f"conntrack.{path}")):
            wanted[f"net/netfilter/nf_conntrack_{name}"] = seconds
    if values["conntrack.tcpBeLiberal"]:
        wanted["net/netfilter/nf_conntrack_tcp_be_liberal"] = 1
    return wanted


def split_address(text: str) -> tuple[str, int] | None:
    """Host and port of one that is valid; None of an empty one."""
    if not text:
        return None
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
