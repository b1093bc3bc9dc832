"""The wanted ruleset of a cluster's Services, and how a kernel's table differs from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.meta import object_key
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.config import NodeView, ProxyConfig, choose_node_port_addresses, config_at
from seaway.proxy.forwarding import Frontend, ServiceForwarding, Target
from seaway.proxy.nftables.diff import Transaction, diff
from seaway.proxy.nftables.objects import Chain, Ruleset, Structure
from seaway.proxy.nftables.plane import render_config
from seaway.proxy.nftables.render import arrange_as_found, find_sole_target, render
from seaway.proxy.proxier import Proxier
from seaway.proxy.splitting.plan import redirect


class _NoPlane:
    """Nothing follows: only the forwardings are wanted."""

    def sync(self, changed: Mapping[str, ServiceForwarding | None], node: NodeView) -> bool:
        return False

    def verify(self) -> None:
        pass


def plan_ruleset(
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    *,
    config: ProxyConfig,
    node: NodeView,
    family: Family,
    host_addresses: tuple[str, ...] = (),
    guarded_links: tuple[str, ...] = (),
    found: Ruleset | None = None,
) -> Ruleset:
    """What the proxy's table is to be. found: a kernel's table, in whose slots endpoints stay.

    Where that leads Services that ask for user space to a listener, they are; else the kernel serves them.
    """
    proxier = Proxier({family: _NoPlane()}, node)
    for service in services:
        proxier.set_service(object_key(service.metadata), service)
    for piece in slices:
        proxier.set_slice(object_key(piece.metadata), piece)
    proxier.sync()
    forwardings = proxier.forwardings(family)
    if found is not None:
        redirected = (_redirect_as_found(forwarding, found, node) for forwarding in forwardings)
        forwardings = tuple(arrange_as_found(forwarding, found.elements) for forwarding in redirected)
    ports = choose_node_port_addresses(config, node, family, host_addresses)
    return render(forwardings, render_config(config_at(config, node), family, ports, guarded_links))


def _redirect_as_found(service: ServiceForwarding, found: Ruleset, node: NodeView) -> ServiceForwarding:
    """A listener has any free port of the node; only the table knows which."""
    if not service.asks_userspace:
        return service
    by_frontend = {f.frontend: f for f in service.forwardings}

    def find_listener(frontend: Frontend) -> Target | None:
        f = by_frontend[frontend]
        target = find_sole_target(f, found.elements)
        is_own = target is not None and target.address in node.addresses
        return target if is_own and target not in {*f.endpoints, *(f.outside or ())} else None

    return redirect(service, find_listener)


def compare(have: Ruleset, altered: frozenset[str], want: Ruleset) -> Transaction:
    """The commands that a sync would send. altered: the chains whose rules are not the wanted ones."""
    wanted = want.structure.chains
    known = {
        name: Chain(wanted[name].rules, chain.hook) if name in wanted and name not in altered else chain
        for name, chain in have.structure.chains.items()
    }
    return diff(replace(have, structure=Structure(have.structure.sets, known)), want)
