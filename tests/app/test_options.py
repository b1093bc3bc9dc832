"""The flags of `seaway up`, and the addresses that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seaway.app.options import UpOptions, apiserver_ip, check_options, dns_ip, pod_cidr
from seaway.net.errors import OperationalError


def make_options(**flags: Any) -> UpOptions:
    return UpOptions(data_dir=Path("data"), **flags)


def test_the_defaults_are_those_of_kubeadm() -> None:
    options = make_options()
    check_options(options)
    assert (apiserver_ip(options), dns_ip(options), pod_cidr(options)) == ("10.96.0.1", "10.96.0.10", "10.244.0.0/24")


def test_a_second_service_range_is_of_the_other_family() -> None:
    check_options(make_options(second_service_cidr="fd10:96::/112"))


def test_external_ranges_are_of_either_family() -> None:
    check_options(make_options(external_ip_cidrs=("192.0.2.0/24", "2001:db8::/64", "198.51.100.7/32")))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param({"service_cidr": "10.96.0.1/16"}, "--service-cidr 10.96.0.1/16", id="host bits"),
        pytest.param({"service_cidr": "10.96.0.0/30"}, "/28 or wider needed", id="too small for the DNS address"),
        pytest.param({"service_cidr": "fd10::/112"}, "give an IPv4 range", id="another family"),
        pytest.param({"second_service_cidr": "10.97.0.0/16"}, "one IPv4 and then one IPv6", id="two of one family"),
        pytest.param({"second_service_cidr": "fd10::/112,x"}, "one IPv4 and then one IPv6", id="three ranges"),
        pytest.param({"second_service_cidr": "fd10::/48"}, "/64 to /125 needed", id="too wide to draw from"),
        pytest.param({"cluster_cidr": "10.96.0.0/20"}, "overlap", id="ranges that meet"),
        pytest.param(
            {"external_ip_cidrs": ("192.0.2.0/24", "x")}, "--external-ip-cidrs x: .*192.0.2.0/24", id="no range"
        ),
        pytest.param(
            {"external_ip_cidrs": ("192.0.2.1/24",)}, "--external-ip-cidrs 192.0.2.1/24", id="external host bits"
        ),
        pytest.param({"dns_ip": "10.1.0.10"}, "not in the service range", id="DNS outside of the range"),
    ],
)
def test_a_bad_flag_is_named(flags: dict[str, Any], words: str) -> None:
    with pytest.raises(OperationalError, match=words):
        check_options(make_options(**flags))
