"""What a Pod finds in /etc/resolv.conf, /etc/hosts and /etc/hostname. Rule: spec "discovery" Part C, "node" §2.13."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from seaway.node.podspec import HostAlias, PodManifest

MAX_NAMESERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_CHARACTERS = 253
CLUSTER_SEARCHES = 3
"""What the cluster puts before the host's: the namespace, `svc`, the domain."""
MAX_SEARCH_LINE_CHARACTERS = 2048
MISSING_CLUSTER_DNS = "MissingClusterDNS"
MISSING_CLUSTER_DNS_TEXT = (
    'kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. '
    'Falling back to "Default" policy.'
)
MAX_HOSTNAME_CHARACTERS = 63
MAX_KERNEL_HOSTNAME_CHARACTERS = 64

NSSWITCH = """\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
"""
"""Names are looked up in the hosts file and by DNS, whatever the host itself uses (mdns, resolve, sss)."""


class ResolverError(Exception):
    """The Pod's resolver files or host name cannot be made; the Pod does not start."""


@dataclass(frozen=True, slots=True)
class Resolver:
    """The content of a resolv.conf. An option is `name` or `name:value`."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodResolver:
    """What the Pod gets, and warnings as (reason, message) for events."""

    resolver: Resolver
    warnings: tuple[tuple[str, str], ...] = field(default=())


STUB_ADDRESS = "127.0.0.53"
"""Where systemd-resolved listens: on the host's loopback, which a Pod does not have."""


def choose_resolver_text(text: str, behind_stub: str) -> str:
    """The host's file that Pods inherit: of a stub's, the one behind it, where there is one.

    Rule: spec "node" §2.13 (resolv.conf), §10 (15).
    """
    servers = [line.split()[1:2] for line in text.splitlines() if line.split()[:1] == ["nameserver"]]
    return behind_stub if [STUB_ADDRESS] in servers and behind_stub else text


def make_empty_resolver(node_ips: Iterable[str]) -> Resolver:
    """What `Default` gives when the agent is told of no resolver file. Rule: spec "discovery" §C2."""
    loopbacks = ("::1" if ":" in address else "127.0.0.1" for address in node_ips)
    return Resolver(_unique(loopbacks) or ("127.0.0.1",), (".",))


def find_host_file_warning(text: str, name: str, *, cluster_domain: str) -> str:
    """What the node's own file has too much of, or "": Pods will not get all of it. The first that is found.

    Rule: spec "discovery" §C2 (CheckLimitsForResolvConf).
    """
    searches = parse_resolv_conf(text).searches
    allowed = MAX_SEARCHES - (CLUSTER_SEARCHES if cluster_domain else 0)
    if len(searches) > allowed:
        return f"Resolv.conf file '{name}' contains search line consisting of more than {allowed} domains!"
    if any(len(search) > MAX_SEARCH_CHARACTERS for search in searches):
        return (
            f'Resolv.conf file "{name}" contains a search path which length is more than allowed '
            f"{MAX_SEARCH_CHARACTERS} chars!"
        )
    if len(" ".join(searches)) > MAX_SEARCH_LINE_CHARACTERS:
        return (
            f"Resolv.conf file '{name}' contains search line which length is more than allowed "
            f"{MAX_SEARCH_LINE_CHARACTERS} chars!"
        )
    return ""


def parse_resolv_conf(text: str) -> Resolver:
    """The host's file. Raises ResolverError for a nameserver line without an address. Rule: spec "discovery" §C1."""
    nameservers: list[str] = []
    searches: list[str] = []
    options: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if words[0] == "nameserver":
            if len(words) < 2:
                raise ResolverError("Encountered error while parsing resolv conf file")
            nameservers.append(words[1])
        elif words[0] == "search":
            searches = [name.removesuffix(".") for name in words[1:] if name != "."]
        elif words[0] == "options":
            options.update((word.partition(":")[0], word) for word in words[1:])
    return Resolver(tuple(nameservers), tuple(searches), tuple(options.values()))


def make_pod_resolver(
    pod: PodManifest, host: Resolver, *, cluster_dns: Sequence[str], cluster_domain: str
) -> PodResolver:
    """The resolver of the Pod, cut to the limits. Rule: spec "discovery" §C2."""
    base, warnings = _choose_base(pod, host, cluster_dns, cluster_domain)
    config = pod.spec.dns_config
    if config is not None:
        options = {option.partition(":")[0]: option for option in base.options}
        for option in config.options:
            options[option.name] = f"{option.name}:{option.value}" if option.value else option.name
        base = Resolver(
            _unique((*base.nameservers, *config.nameservers)),
            _unique((*base.searches, *config.searches)),
            tuple(options.values()),
        )
    return _cut(base, warnings)


def _choose_base(
    pod: PodManifest, host: Resolver, cluster_dns: Sequence[str], domain: str
) -> tuple[Resolver, list[tuple[str, str]]]:
    policy = pod.spec.dns_policy
    if policy == "None":
        return Resolver(), []
    if policy == "Default" or (pod.spec.host_network and policy != "ClusterFirstWithHostNet"):
        return host, []
    if not cluster_dns:
        return host, [(MISSING_CLUSTER_DNS, f'pod: "{pod.text}". {MISSING_CLUSTER_DNS_TEXT}')]
    own = (f"{pod.metadata.namespace}.svc.{domain}", f"svc.{domain}", domain) if domain else ()
    return Resolver(tuple(cluster_dns), _unique((*own, *host.searches)), ("ndots:5",)), []


def _cut(want: Resolver, warnings: list[tuple[str, str]]) -> PodResolver:
    nameservers = want.nameservers[:MAX_NAMESERVERS]
    if nameservers != want.nameservers:
        text = (
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
            + " ".join(nameservers)
        )
        warnings.append(("DNSConfigForming", text))
    searches = tuple(name for name in want.searches[:MAX_SEARCHES] if len(name) <= MAX_SEARCH_CHARACTERS)
    while len(" ".join(searches)) > MAX_SEARCH_LINE_CHARACTERS:
        searches = searches[:-1]
    if searches != want.searches:
        text = (
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
            + " ".join(searches)
        )
        warnings.append(("DNSConfigForming", text))
    return PodResolver(Resolver(nameservers, searches, want.options), tuple(warnings))


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def render_resolv_conf(resolver: Resolver) -> str:
    """The file; empty parts are left out."""
    lines = [f"search {' '.join(resolver.searches)}"] if resolver.searches else []
    lines.extend(f"nameserver {address}" for address in resolver.nameservers)
    if resolver.options:
        lines.append(f"options {' '.join(resolver.options)}")
    return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class HostNames:
    """`short` and, with a subdomain, `domain`; `kernel` is what the UTS namespace is given."""

    short: str
    domain: str
    kernel: str


def make_host_names(pod: PodManifest, *, cluster_domain: str) -> HostNames:
    """The Pod's names. Raises ResolverError when the full name is too long for the kernel. Rule: "discovery" §C3."""
    spec = pod.spec
    if spec.hostname_override:
        short = _cut_name(spec.hostname_override)
        return HostNames(short, "", short)
    short = _cut_name(spec.hostname or pod.metadata.name)
    if not spec.subdomain:
        return HostNames(short, "", short)
    domain = f"{spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"
    if not spec.set_hostname_as_fqdn:
        return HostNames(short, domain, short)
    full = f"{short}.{domain}"
    if len(full) > MAX_KERNEL_HOSTNAME_CHARACTERS:
        raise ResolverError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long "
            f"({MAX_KERNEL_HOSTNAME_CHARACTERS} characters is the max, {len(full)} characters requested)"
        )
    return HostNames(short, domain, full)


def _cut_name(name: str) -> str:
    return name[:MAX_HOSTNAME_CHARACTERS].rstrip("-.")


_LOCAL_HOSTS = """\
# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
fe00::0	ip6-mcastprefix
fe00::1	ip6-allnodes
fe00::2	ip6-allrouters
"""


def render_hosts(names: HostNames, pod_ips: Sequence[str], aliases: Sequence[HostAlias] = ()) -> str:
    """The file of a Pod with a network of its own. Rule: spec "discovery" §C4 (byte exact)."""
    own = f"{names.short}.{names.domain}\t{names.short}" if names.domain else names.short
    return _LOCAL_HOSTS + "".join(f"{address}\t{own}\n" for address in pod_ips) + _render_aliases(aliases)


def render_host_network_hosts(host_file: str, aliases: Sequence[HostAlias] = ()) -> str:
    """The file of a Pod on the node's network: the node's own, then the aliases."""
    return f"# Kubernetes-managed hosts file (host network).\n{host_file}{_render_aliases(aliases)}"


def _render_aliases(aliases: Sequence[HostAlias]) -> str:
    if not aliases:
        return ""
    lines = "".join(f"{alias.ip}\t{chr(9).join(alias.hostnames)}\n" for alias in aliases)
    return f"\n# Entries added by HostAliases.\n{lines}"
