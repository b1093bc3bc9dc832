"""Reads what the text depends on: Services from an API server, the table from this host's kernel."""

from __future__ import annotations

from seaway.net.family import Family
from seaway.proxy.kernel import find_supported_families
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.objects import Ruleset
from seaway.proxy.nftables.text import render_text, render_transaction
from seaway.proxy.showing.plan import compare, plan_ruleset
from seaway.proxy.tracing.walk import Cluster
from seaway.proxy.uplinks.kernel import find_guarded


def render_cluster(cluster: Cluster) -> str:
    """The wanted tables, in nft's language."""
    return "".join(render_text(_plan(cluster, family)) for family in cluster.config.families)


def diff_cluster(cluster: Cluster) -> str:
    """What a sync would change in this host's kernel; "": nothing. Raises NftError."""
    kernel = NftKernel()
    lines: list[str] = []
    try:
        for family in find_supported_families(cluster.config.families):
            have = kernel.read(family, cluster.config.table)
            want = _plan(cluster, family, have)
            altered = frozenset[str]() if have.is_absent else kernel.find_altered(want)
            found = render_transaction(compare(have, altered, want), family)
            if found:
                lines.append(f"table {'ip' if family is Family.IPV4 else 'ip6'} {want.table}\n{found}")
    finally:
        kernel.close()
    return "".join(lines)


def _plan(cluster: Cluster, family: Family, found: Ruleset | None = None) -> Ruleset:
    config = cluster.config
    guarded: tuple[str, ...] = ()
    if config.serves_uplinks and config.uplink_state is not None:
        guarded = find_guarded(family, config.uplink_state, cluster.node.addresses)
    return plan_ruleset(
        cluster.services,
        cluster.slices,
        config=config,
        node=cluster.node,
        family=family,
        host_addresses=cluster.host_addresses,
        guarded_links=guarded,
        found=found,
    )
