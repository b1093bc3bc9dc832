"""Rule: spec "discovery" Part C and D5.9-12."""

from __future__ import annotations

from typing import Any

import pytest

from seaway.node.podspec import HostAlias
from seaway.node.resolvconf import (
    HostNames,
    Resolver,
    ResolverError,
    choose_resolver_text,
    find_host_file_warning,
    make_empty_resolver,
    make_host_names,
    make_pod_resolver,
    parse_resolv_conf,
    render_host_network_hosts,
    render_hosts,
    render_resolv_conf,
)
from tests.node.manifests import decode_pod

HOST = Resolver(("192.0.2.53",), ("corp.example",), ("timeout:1",))
CLUSTER = ("10.96.0.10",)
SEARCH = ("demo.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("search . foo.", Resolver(searches=("foo",)), id="a lone dot and a trailing dot go"),
        pytest.param("search a\nsearch b c", Resolver(searches=("b", "c")), id="the last search line wins"),
        pytest.param("options ndots:1 ndots:5", Resolver(options=("ndots:5",)), id="the later option wins"),
        pytest.param(" \tnameserver\t1.2.3.4 extra", Resolver(("1.2.3.4",)), id="indented, tabs, extra words"),
        pytest.param("# nameserver 1.1.1.1\ndomain x\nsortlist y", Resolver(), id="comments and other words"),
    ],
)
def test_the_host_file(text: str, expected: Resolver) -> None:
    assert parse_resolv_conf(text) == expected


def test_a_bare_nameserver_is_an_error() -> None:
    with pytest.raises(ResolverError):
        parse_resolv_conf("nameserver")


POLICIES: dict[str, tuple[dict[str, Any], tuple[str, ...], Resolver]] = {
    "cluster first": ({}, CLUSTER, Resolver(CLUSTER, SEARCH, ("ndots:5",))),
    "cluster first on the host's network is the host's": ({"hostNetwork": True}, CLUSTER, HOST),
    "cluster first with host net": (
        {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, CLUSTER,
        Resolver(CLUSTER, SEARCH, ("ndots:5",)),
    ),
    "default": ({"dnsPolicy": "Default"}, CLUSTER, HOST),
    "none": ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}, CLUSTER, Resolver(("1.1.1.1",))),
    "no cluster DNS is the host's": ({}, (), HOST),
    "duplicates are merged": (
        {"dnsConfig": {"nameservers": ["10.96.0.10", "9.9.9.9"], "searches": ["corp.example", "x"],
                       "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}},
        CLUSTER, Resolver((*CLUSTER, "9.9.9.9"), (*SEARCH, "x"), ("ndots:2", "edns0")),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "dns", "expected"), POLICIES.values(), ids=POLICIES)
def test_policies(spec: dict[str, Any], dns: tuple[str, ...], expected: Resolver) -> None:
    pod = decode_pod(meta={"namespace": "demo"}, **spec)
    found = make_pod_resolver(pod, HOST, cluster_dns=dns, cluster_domain="cluster.local")
    assert found.resolver == expected
    assert [reason for reason, _ in found.warnings] == ([] if dns else ["MissingClusterDNS"])


def cut(config: dict[str, Any]) -> tuple[Resolver, list[str]]:
    pod = decode_pod(dnsPolicy="None", dnsConfig=config)
    found = make_pod_resolver(pod, HOST, cluster_dns=CLUSTER, cluster_domain="cluster.local")
    return found.resolver, [message for _, message in found.warnings]


def test_the_fourth_nameserver_goes() -> None:
    resolver, messages = cut({"nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"]})
    assert len(resolver.nameservers) == 3
    assert messages == [
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        "the applied nameserver line is: 1.1.1.1 2.2.2.2 3.3.3.3"
    ]


@pytest.mark.parametrize(
    ("searches", "kept"),
    [
        pytest.param([f"s{n}" for n in range(33)], 32, id="the 33rd domain goes"),
        pytest.param(["a", "b" * 254, "c"], 2, id="a domain of 254 characters goes"),
        pytest.param([chr(97 + n) * 240 for n in range(9)], 8, id="a line of more than 2048 is cut from the end"),
    ],
)
def test_search_limits(searches: list[str], kept: int) -> None:
    resolver, messages = cut({"searches": searches})
    assert len(resolver.searches) == kept
    assert messages[0].startswith("Search Line limits were exceeded")


@pytest.mark.parametrize(
    ("text", "domain", "expected"),
    [
        pytest.param("search a b", "cluster.local", "", id="nothing"),
        pytest.param(f"search {' '.join(f's{n}' for n in range(30))}", "cluster.local", "Resolv.conf file 'F' contains "
                     "search line consisting of more than 29 domains!", id="the cluster's three count"),
        pytest.param(f"search {' '.join(f's{n}' for n in range(32))}", "", "", id="without a domain there are 32"),
        pytest.param(f"search {'a' * 254}", "x", 'Resolv.conf file "F" contains a search path which length is more '
                     "than allowed 253 chars!", id="one domain"),
        pytest.param(f"search {' '.join(['a' * 250] * 9)}", "x", "Resolv.conf file 'F' contains search line which "
                     "length is more than allowed 2048 chars!", id="the line"),
    ],
)  # fmt: skip
def test_what_the_hosts_own_file_has_too_much_of(text: str, domain: str, expected: str) -> None:
    assert find_host_file_warning(text, "F", cluster_domain=domain) == expected


@pytest.mark.parametrize(
    ("text", "behind", "chosen"),
    [
        pytest.param("nameserver 127.0.0.53\n", "nameserver 192.0.2.1\n", "nameserver 192.0.2.1\n", id="one behind"),
        pytest.param("nameserver 127.0.0.53\n", "", "nameserver 127.0.0.53\n", id="nothing is"),
        pytest.param("# 127.0.0.53\nnameserver 192.0.2.2\n", "x\n", "# 127.0.0.53\nnameserver 192.0.2.2\n",
                     id="a comment is no server"),
    ],
)  # fmt: skip
def test_a_stub_of_the_host_is_not_inherited(text: str, behind: str, chosen: str) -> None:
    assert choose_resolver_text(text, behind) == chosen


def test_no_resolver_file_is_the_loopback_of_each_family() -> None:
    assert make_empty_resolver(["192.0.2.1", "2001:db8::1"]) == Resolver(("127.0.0.1", "::1"), (".",))
    assert make_empty_resolver(["2001:db8::1"]).nameservers == ("::1",)
    assert make_empty_resolver([]).nameservers == ("127.0.0.1",)


def test_the_written_form() -> None:
    resolver = make_pod_resolver(
        decode_pod(meta={"namespace": "demo"}), HOST, cluster_dns=CLUSTER, cluster_domain="cluster.local"
    ).resolver
    assert render_resolv_conf(resolver) == (
        "search demo.svc.cluster.local svc.cluster.local cluster.local corp.example\n"
        "nameserver 10.96.0.10\n"
        "options ndots:5\n"
    )
    assert render_resolv_conf(Resolver()) == ""


NAMES = {
    "the Pod's name": ({}, HostNames("web-1", "", "web-1")),
    "hostname": ({"hostname": "h"}, HostNames("h", "", "h")),
    "subdomain": ({"subdomain": "s"}, HostNames("web-1", "s.default.svc.cluster.local", "web-1")),
    "full name": (
        {"subdomain": "s", "hostname": "h", "setHostnameAsFQDN": True},
        HostNames("h", "s.default.svc.cluster.local", "h.s.default.svc.cluster.local"),
    ),
    "full name without subdomain": ({"setHostnameAsFQDN": True}, HostNames("web-1", "", "web-1")),
    "override": ({"hostnameOverride": "o.example", "subdomain": "s"}, HostNames("o.example", "", "o.example")),
}


@pytest.mark.parametrize(("spec", "expected"), NAMES.values(), ids=NAMES)
def test_host_names(spec: dict[str, Any], expected: HostNames) -> None:
    assert make_host_names(decode_pod(**spec), cluster_domain="cluster.local") == expected


def test_a_long_name_is_cut_and_trimmed() -> None:
    assert make_host_names(decode_pod("a" * 62 + "-bcdefgh"), cluster_domain="x").kernel == "a" * 62


def test_a_full_name_has_at_most_64_characters() -> None:
    domain = ".s.default.svc.cluster.local"
    fits = decode_pod(hostname="h" * (64 - len(domain)), subdomain="s", setHostnameAsFQDN=True)
    assert len(make_host_names(fits, cluster_domain="cluster.local").kernel) == 64
    name = "h" * (65 - len(domain))
    with pytest.raises(ResolverError) as caught:
        make_host_names(
            decode_pod(hostname=name, subdomain="s", setHostnameAsFQDN=True), cluster_domain="cluster.local"
        )
    assert str(caught.value) == (
        f"failed to construct FQDN from pod hostname and cluster domain, FQDN {name}{domain} is too long "
        "(64 characters is the max, 65 characters requested)"
    )


HEAD = (
    "# Kubernetes-managed hosts file.\n"
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)
ALIASES = (HostAlias(ip="1.2.3.4", hostnames=("a", "b")), HostAlias(ip="::5", hostnames=("c",)))


def test_the_hosts_file_byte_for_byte() -> None:
    plain, full = HostNames("h", "", "h"), HostNames("h", "s.ns.svc.d", "h")
    assert render_hosts(plain, ["10.0.0.2"]) == f"{HEAD}10.0.0.2\th\n"
    assert render_hosts(full, ["10.0.0.2", "fd00::2"]) == f"{HEAD}10.0.0.2\th.s.ns.svc.d\th\nfd00::2\th.s.ns.svc.d\th\n"
    assert render_hosts(plain, ["10.0.0.2"], ALIASES) == (
        f"{HEAD}10.0.0.2\th\n\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n::5\tc\n"
    )
    assert render_host_network_hosts("127.0.0.1 x\n", ALIASES[:1]) == (
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 x\n"
        "\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"
    )
