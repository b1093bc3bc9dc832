"""Rule: spec "proxy" §6.2, §10.1, §10.2."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.api.machinery.yaml_codec import encode_yaml
from seaway.proxy.config import DetectLocal
from seaway.proxy.settings.apply import make_proxy_settings, plan_sysctls
from seaway.proxy.settings.table import SettingsError, decode_settings, default_values, encode_tree
from seaway.proxy.settings.validation import validate_settings

HEAD = b"apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a bit beyond the mark": ({"nftables.masqueradeBit": 32}, "must be within the range [0, 31]"),
    "no time between retries": ({"nftables.syncPeriod": "0s"}, "must be greater than 0"),
    "a bind address that is none": ({"bindAddress": "x"}, "not a valid textual representation of an IP address"),
    "no port": ({"healthzBindAddress": "0.0.0.0"}, "must be IP:port"),
    "no address": ({"metricsBindAddress": "host:1"}, "must be a valid IP"),
    "a port beyond 65535": ({"metricsBindAddress": "127.0.0.1:70000"}, "must be a valid port"),
    "primary and CIDRs": ({"nodePortAddresses": ["primary", "10.0.0.0/8"]}, "can't use both 'primary' and CIDRs"),
    "node ports on what is no CIDR": ({"nodePortAddresses": ["10.0.0.1"]}, "must be a valid CIDR"),
    "a bridge without a name": ({"detectLocalMode": "BridgeInterface"}, "must not be empty"),
    "a prefix of nothing": ({"detectLocalMode": "InterfaceNamePrefix"}, "must not be empty"),
    "a score beyond what there is": ({"oomScoreAdj": 1001}, "must be within the range [-1000, 1000]"),
    "fewer flows than none": ({"conntrack.min": -1}, "must be greater than or equal to 0"),
    "a negative timeout": ({"conntrack.udpTimeout": "-1s"}, "must be greater than or equal to 0"),
}


@pytest.mark.parametrize(("changes", "text"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_said_in_upstreams_words(changes: dict[str, Any], text: str) -> None:
    assert text in [error.detail for error in validate_settings(default_values() | changes)]


def test_the_defaults_are_valid_and_survive_a_file() -> None:
    assert validate_settings(default_values()) == []
    assert decode_settings(encode_yaml(encode_tree(default_values()))) == (default_values(), ())


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
