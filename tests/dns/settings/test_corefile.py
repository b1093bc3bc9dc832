"""Corefiles as clusters ship them, and what is wrong with others. Rule: spec "discovery" A1.13, A3.2-A3.4, A4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.dns.config import DnsConfig
from seaway.dns.forwarding.config import (
    Block,
    CacheConfig,
    Consolidation,
    HostsConfig,
    LogClass,
    LogConfig,
    Match,
    NameRewrite,
    Policy,
    RouteConfig,
    TlsOptions,
    TypeRewrite,
)
from seaway.dns.forwarding.upstreams import Upstream
from seaway.dns.records import parse_name
from seaway.dns.settings.directives import DIRECTIVES
from seaway.dns.settings.read import Surroundings, read_settings
from seaway.dns.settings.words import SettingsError

KUBEADM = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""
KUBE_UP = KUBEADM.replace(
    """    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
""",
    "    cache 30\n",
)
K3S = """\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/NodeHosts {
      ttl 60
      reload 15s
      fallthrough
    }
    prometheus :9153
    cache 30
    loop
    reload
    loadbalance
    import /etc/coredns/custom/*.override
    forward . /etc/resolv.conf
}
import /etc/coredns/custom/*.server
"""
FILES = {"/etc/resolv.conf": "search lan\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n"}
CUSTOM = {
    "/etc/coredns/custom/*.override": (("/etc/coredns/custom/log.override", "log\n"),),
    "/etc/coredns/custom/*.server": (
        ("/etc/coredns/custom/acme.server", "acme.local:53 {\n    forward . 10.150.0.1\n}\n"),
    ),
}
RESOLVERS = (Upstream("192.0.2.1"), Upstream("192.0.2.2"))
REVERSE = (parse_name("in-addr.arpa"), parse_name("ip6.arpa"))
CLUSTER = parse_name("cluster.local")


def read(text: str, *, file: str = "Corefile", custom: bool = False, **environment: str) -> DnsConfig:
    def read_file(path: str) -> str:
        try:
            return FILES[path]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory", path) from None

    def read_matching(pattern: str) -> Sequence[tuple[str, str]]:
        return CUSTOM.get(pattern, ()) if custom else ()

    surroundings = Surroundings(read_file, read_matching, environment, ("10.244.0.9",))
    return read_settings(text, file=file, surroundings=surroundings)


def block_of(lines: str, **environment: str) -> Block:
    """The one block of a Corefile with these lines besides the cluster's."""
    (block,) = read(f".:53 {{\n kubernetes cluster.local\n{lines}\n}}", **environment).blocks
    return block


def error_of(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(text)
    return str(caught.value)


def test_the_corefile_of_kubeadm() -> None:
    config = read(KUBEADM)
    assert (config.listen, config.cluster_domain, config.ttl_seconds, config.pods) == (
        (("10.244.0.9", 53),), "cluster.local", 30, "insecure",
    )  # fmt: skip
    assert config.kubernetes.reverse_zones == config.kubernetes.fallthrough == REVERSE
    told = config.lifecycle
    assert (told.health, told.ready, told.metrics) == (("", 8080), ("", 8181), ("", 9153))
    assert (told.lameduck_seconds, told.reload_seconds, told.reload_jitter_seconds) == (5.0, 30.0, 15.0)
    assert told.detects_loops
    assert told.startup_seconds == 5.0
    assert config.blocks == (
        Block(
            routes=(RouteConfig(RESOLVERS, max_concurrent=1000),),
            cache=CacheConfig(zones=(), unkept_successes=(CLUSTER,), unkept_denials=(CLUSTER,)),
        ),
    )


def test_the_corefile_of_kube_up() -> None:
    assert read(KUBE_UP).blocks == (Block(routes=(RouteConfig(RESOLVERS, max_concurrent=1000),), cache=CacheConfig()),)


def test_the_corefile_of_k3s_without_anything_of_ones_own() -> None:
    config = read(K3S)
    hosts = HostsConfig("/etc/coredns/NodeHosts", ttl_seconds=60, reload_seconds=15.0, fallthrough=())
    assert config.blocks == (Block(routes=(RouteConfig(RESOLVERS),), cache=CacheConfig(), hosts=hosts),)
    assert (config.ttl_seconds, config.lifecycle.lameduck_seconds) == (5, 0.0)


def test_the_corefile_of_k3s_with_imports() -> None:
    config = read(K3S, custom=True)
    assert config.blocks[0].log == LogConfig(frozenset((LogClass.ALL,)), ((),))
    assert config.blocks[1] == Block(
        parse_name("acme.local"), routes=(RouteConfig((Upstream("10.150.0.1"),)),), consolidations=None
    )


EKS = """\
.:53 {
    errors
    health {
        lameduck 5s
      }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}
"""
OPENSHIFT = """\
# foo
example.com:5353 {
    prometheus 127.0.0.1:9153
    forward . 10.150.0.1 [2001:db8::1]:5353 {
        policy random
    }
    errors
    log . {
        class error
    }
    bufsize 1232
    cache 900 {
        denial 9984 30
    }
}
.:5353 {
    bufsize 1232
    errors
    log . {
        class error
    }
    health {
        lameduck 20s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus 127.0.0.1:9153
    forward . /etc/resolv.conf {
        policy sequential
    }
    cache 900 {
        denial 9984 30
    }
    reload
}
"""


def test_the_corefiles_of_others() -> None:
    assert read(EKS).blocks == (Block(routes=(RouteConfig(RESOLVERS),), cache=CacheConfig()),)
    config = read(OPENSHIFT)
    assert (config.listen, config.max_udp_bytes) == ((("10.244.0.9", 5353),), 1232)
    stub, root = config.blocks
    assert stub.routes[0].upstreams == (Upstream("10.150.0.1"), Upstream("2001:db8::1", 5353))
    assert root.cache == CacheConfig(success_max_seconds=900, denial_max_seconds=30, zones=())
    assert root.routes[0].policy is Policy.SEQUENTIAL
    assert config.lifecycle.metrics == ("127.0.0.1", 9153)


def test_stub_domains_are_blocks_or_narrower_routes() -> None:
    block = block_of(" forward . 10.0.0.1\n forward acme.local 10.150.0.1:5353 {\n  except x.acme.local\n }")
    assert [(route.zone, route.upstreams) for route in block.sorted_routes] == [
        (parse_name("acme.local"), (Upstream("10.150.0.1", 5353),)),
        ((), (Upstream("10.0.0.1"),)),
    ]
    assert block.sorted_routes[0].takes(parse_name("y.acme.local"))
    assert not block.sorted_routes[0].takes(parse_name("z.x.acme.local"))


def test_every_property_of_forward() -> None:
    block = block_of("""
 forward . tls://9.9.9.9 tls://149.112.112.112:853 {
   except corp.example
   policy round_robin
   max_fails 3
   expire 20s
   health_check 2s no_rec domain example.org
   force_tcp
   prefer_udp
   max_concurrent 7
   max_connect_attempts 4
   random_case
   read_timeout 3s
   failover SERVFAIL REFUSED
   next NXDOMAIN
   next_on_nodata
   failfast_all_unhealthy_upstreams
   tls_servername dns.quad9.net
   tls /ca.pem
 }""")
    assert block.routes == (
        RouteConfig(
            (Upstream("9.9.9.9", 853, is_tls=True), Upstream("149.112.112.112", 853, is_tls=True)),
            excluded=(parse_name("corp.example"),), policy=Policy.ROUND_ROBIN, max_fails=3, expire_seconds=20.0,
            check_seconds=2.0, check_recursive=False, check_name=parse_name("example.org"), force_tcp=True,
            max_concurrent=7, max_attempts=4, attempt_seconds=3.0, failover=frozenset((2, 5)),
            next_rcodes=frozenset((3,)), next_on_nodata=True, fails_fast=True, random_case=True,
            tls=TlsOptions("dns.quad9.net", "/ca.pem"),
        ),
    )  # fmt: skip


def test_every_property_of_cache() -> None:
    block = block_of("""
 cache 60 example.org {
   success 5000 40 2
   denial 1000 20
   prefetch 3 2m 20%
   serve_stale 2h verify 1s
   servfail 10s
   disable denial
   keepttl
 }""")
    assert block.cache == CacheConfig(
        success_max_seconds=40, success_min_seconds=2, success_capacity=5000, denial_max_seconds=20,
        denial_capacity=1000, failure_seconds=10.0, prefetch_hits=3, prefetch_gap_seconds=120.0, prefetch_percent=20,
        stale_seconds=7200.0, verifies=True, verify_seconds=1.0, keeps_ttl=True, zones=(parse_name("example.org"),),
        unkept_denials=((),),
    )  # fmt: skip
    bare = block_of(" cache").cache
    assert bare is not None
    assert (bare.success_max_seconds, bare.denial_max_seconds) == (3600, 1800)


def test_hosts_are_lines_or_a_file() -> None:
    inline = block_of(" hosts example.org {\n  10.0.0.1 a.example.org a\n  fd00::1 b.example.org\n  no_reverse\n }")
    assert inline.hosts == HostsConfig(
        inline=("10.0.0.1 a.example.org a", "fd00::1 b.example.org"),
        zones=(parse_name("example.org"),),
        has_reverse=False,
    )
    assert block_of(" hosts").hosts == HostsConfig("/etc/hosts")


def test_rewrites() -> None:
    block = block_of(r"""
 rewrite name old.example.com web.default.svc.cluster.local
 rewrite continue name suffix .corp.example .svc.cluster.local answer auto
 rewrite stop {
   name regex (.*)\.a\.example\. {1}.b.example.
   answer name (.*)\.b\.example\. {1}.a.example.
 }
 rewrite type ANY HINFO""")
    assert block.rewrites == (
        NameRewrite(Match.EXACT, "old.example.com.", "web.default.svc.cluster.local."),
        NameRewrite(Match.SUFFIX, ".corp.example.", ".svc.cluster.local.", True, (), False),
        NameRewrite(
            Match.REGEX, r"(.*)\.a\.example\.", "{1}.b.example.", False, ((r"(.*)\.b\.example\.", "{1}.a.example."),)
        ),
        TypeRewrite(255, 13),
    )


def test_logs_and_errors() -> None:
    block = block_of(
        ' log example.org {\n  class denial error\n }\n errors {\n  consolidate 30s "^.* i/o timeout$" warning\n }'
    )
    assert block.log == LogConfig(frozenset((LogClass.DENIAL, LogClass.ERROR)), (parse_name("example.org"),))
    assert block.consolidations == (Consolidation(30.0, "^.* i/o timeout$", "warning"),)
    assert block_of(" cache 30").consolidations is None, "without errors none are told"


def test_options_of_kubernetes() -> None:
    config = read("""
.:53 {
  kubernetes Cluster.Local 10.0.0.0/8 {
    namespaces a b
    labels app in (web, db)
    noendpoints
    endpoint_pod_names
    ignore empty_service
    pods verified
    fallthrough
    startup_timeout 7s
    kubeconfig /k.conf
    apiserver_qps 10
  }
}""")
    options = config.kubernetes
    assert (options.namespaces, options.labels) == (("a", "b"), "app in (web, db)")
    assert options.no_endpoints and options.endpoint_pod_names and options.ignore_empty_service
    assert (options.fallthrough, options.kubeconfig) == (((),), "/k.conf")
    assert options.reverse_zones == (parse_name("10.in-addr.arpa"),)
    assert (config.pods, config.lifecycle.startup_seconds, config.cluster_domain) == ("verified", 7.0, "cluster.local")


def test_the_environment_and_snippets_are_put_in() -> None:
    text = '(common) {\n errors\n cache 30 # seconds\n}\n{$ZONE}:{%PORT%} {\n import common\n kubernetes "{$DOMAIN}"\n}'
    config = read(text, ZONE=".", PORT="1053", DOMAIN="k.example")
    assert (config.listen, config.cluster_domain) == ((("10.244.0.9", 1053),), "k.example")
    assert config.blocks == (Block(cache=CacheConfig()),)


def test_bind_names_the_addresses() -> None:
    config = read(".:53 {\n bind 169.254.20.10 fd00::a\n kubernetes cluster.local\n}")
    assert config.listen == (("169.254.20.10", 53), ("fd00::a", 53))


def test_a_cluster_zone_may_have_a_block_of_its_own() -> None:
    config = read(
        "cluster.local {\n kubernetes\n}\n. {\n forward . 10.0.0.1\n}\n"
        "acme.local corp.example {\n forward . 10.0.0.2\n}"
    )
    assert [block.zone for block in config.blocks] == [
        CLUSTER,
        (),
        parse_name("acme.local"),
        parse_name("corp.example"),
    ]


HEAD = ".:53 {\n kubernetes cluster.local\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + " template IN A\n}",
         f"Corefile:3: unknown directive 'template'; known here: {', '.join(DIRECTIVES)}"),
        (".:53 {\n kubernetes cluster.local {\n  podz x\n }\n}", "Corefile:3: unknown property 'podz'"),
        (".:53 {\n kubernetes cluster.local {\n  ignore all\n }\n}", "Corefile:3: unable to parse ignore value: 'all'"),
        (".:53 {\n kubernetes cluster.local {\n  ttl 3601\n }\n}",
         "Corefile:2: kubernetes: ttl must be in range [0, 3600]: 3601"),
        (".:53 {\n kubernetes cluster.local {\n  multicluster x.y\n }\n}",
         "Corefile:3: multicluster: not offered; the names are those of Services"),
        (".:53 {\n kubernetes cluster.local {\n  endpoint https://x\n }\n}",
         "Corefile:3: endpoint: not offered; the API server is a kubeconfig's, or that of the Pod"),
        (HEAD + " kubernetes a.b\n}", "Corefile:3: kubernetes: this plugin can only be used once per Server Block"),
        (HEAD + " forward .\n}", "Corefile:3: forward: FROM and at least one TO needed, as in 'forward . 10.0.0.1'"),
        (HEAD + " forward . dns.example\n}",
         "Corefile:3: forward: upstream 'dns.example': an IP address, IP:PORT or unix:///PATH is needed"),
        (HEAD + " forward . 10.0.0.1 {\n  polizy random\n }\n}", "Corefile:4: unknown property 'polizy'; known here: "),
        (HEAD + " forward . 10.0.0.1 {\n  policy fastest\n }\n}",
         "Corefile:4: policy: 'fastest' found, one of random, round_robin, sequential allowed"),
        (HEAD + " forward . " + " ".join(f"10.0.0.{i}" for i in range(16)) + "\n}",
         "Corefile:3: forward: more than 15 TOs configured: 16"),
        (HEAD + " forward . /etc/none\n}", "Corefile:3: forward: /etc/none: No such file or directory"),
        (HEAD + " forward . 10.244.0.9\n}",
         "Corefile:1: upstream 10.244.0.9:53: this server listens there, so queries would go round for ever"),
        (HEAD + " cache 0\n}", "Corefile:3: cache: cache TTL can not be zero or negative: 0"),
        (HEAD + " cache 30 {\n  servfail 6m\n }\n}",
         "Corefile:3: cache: caching SERVFAIL responses over 5 minutes is not permitted"),
        (HEAD + " reload 1s\n}", "Corefile:3: reload: interval value must be greater or equal to 2s"),
        (HEAD + " rewrite class CH IN\n}", "Corefile:3: rewrite: 'class' found, name or type allowed"),
        (HEAD + " rewrite name regex ( x\n}", "Corefile:3: rewrite: missing ), unterminated subpattern at position 0"),
        (HEAD + " loadbalance weighted /w\n}", "Corefile:3: loadbalance: 2 arguments found, 1 needed"),
        (HEAD, "Corefile:1: a block is opened here and not closed"),
        (HEAD + " cache 30 }\n}", "Corefile:3: a closing brace found, which needs a line of its own"),
        (HEAD + ' log "x\n}', "Corefile:3: a quote is opened here and not closed in its line"),
        (HEAD + " import none.conf\n}", "Corefile:3: import none.conf: no such file or snippet"),
        (HEAD + "}\nx:54 {\n forward . 10.0.0.1\n}", "Corefile:4: port 54 found, and 53 before; one port is served"),
        ("tls://. {\n}", "Corefile:1: tls://.: tls:// found, dns:// allowed"),
        (". {\n forward . 10.0.0.1\n}", "Corefile:1: no kubernetes directive found, one needed"),
        ("errors", "Corefile:1: 'errors' found, a server block such as '.:53 {' needed"),
        ("", "Corefile:1: no server block found, at least one needed"),
        (HEAD + "}\nx.cluster.local {\n forward . 10.0.0.1\n}",
         "Corefile:1: zone x.cluster.local.: it lies in the cluster's own zone cluster.local"),
        (HEAD + "}\n. {\n cache\n}", "Corefile:1: zone .: two server blocks have it, one allowed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_error_with_its_line(text: str, said: str) -> None:
    assert error_of(text).startswith(said)


@given(st.text(alphabet='{}"# .:\nabkfor$%\\', max_size=200))
def test_no_text_makes_another_error(text: str) -> None:
    try:
        read(text)
    except SettingsError as error:
        assert str(error).startswith("Corefile:")


def test_files_that_import_each_other_end() -> None:
    text = "import x"

    def read_matching(pattern: str) -> Sequence[tuple[str, str]]:
        return ((pattern, "import x"),)

    with pytest.raises(SettingsError, match="import each other"):
        read_settings(text, file="C", surroundings=Surroundings(lambda path: "", read_matching))


TOML = """\
listen = ["10.244.0.9:53"]
allowed_sources = ["10.244.0.0/16"]

[[zone]]
name = "."
errors = true
health = { address = ":8080", lameduck = "5s" }
ready = true
prometheus = ":9153"
loop = true
reload = true
loadbalance = true

[zone.kubernetes]
zones = ["cluster.local", "in-addr.arpa", "ip6.arpa"]
pods = "insecure"
fallthrough = ["in-addr.arpa", "ip6.arpa"]
ttl = 30

[[zone.forward]]
from = "."
to = ["/etc/resolv.conf"]
max_concurrent = 1000

[zone.cache]
ttl = 30
disable = ["success cluster.local", "denial cluster.local"]
"""


def test_toml_says_the_same_in_the_same_words() -> None:
    assert read(TOML, file="dns.toml") == replace(read(KUBEADM), allowed_sources=("10.244.0.0/16",))


def test_limits_are_in_toml() -> None:
    config = read("max_forwards_per_source = 900\n" + TOML, file="dns.toml")
    assert (config.max_forwards, config.max_forwards_per_source) == (1000, 900)


def test_toml_has_hosts_and_rewrites() -> None:
    text = """
[[zone]]
name = "."
kubernetes = "cluster.local"
rewrite = ["name exact a.example b.example", "type ANY HINFO"]
hosts = { entries = ["10.0.0.1 a b", "10.0.0.2 c"], fallthrough = true }
"""
    (block,) = read(text, file="dns.toml").blocks
    assert block.hosts == HostsConfig(inline=("10.0.0.1 a b", "10.0.0.2 c"), fallthrough=())
    assert len(block.rewrites) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lissen = []", "dns.toml:1: unknown key 'lissen'; known here: listen, allowed_sources, max_"),
        ("\n[[zone]]\nkubernetes = 'a.b'\ncachet = 30", "dns.toml:4: unknown directive 'cachet'"),
        ("[[zone]]\nkubernetes = 'a.b'\n[[zone]]\nname = 'c.d'\n[zone.cache]\nttl = 3\nkeeepttl = true",
         "dns.toml:7: unknown property 'keeepttl'"),
        ("[[zone]]\nkubernetes = { zones = 'a.b', ttl = 3601 }", "dns.toml:2: kubernetes: ttl must be in range"),
        ("max_forwards = 0", "dns.toml:1: max_forwards: 0 found, a number from 1 to 1000000 allowed"),
        ("a = = 1", "dns.toml:1: Invalid value"),
        ("[[zone]]\ncache = {ttl = [[1]]}", "dns.toml:2: ttl: words, a number, or a list of them needed"),
    ],
)  # fmt: skip
def test_errors_in_toml_have_lines_too(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(text, file="dns.toml")
    assert str(caught.value).startswith(said)
