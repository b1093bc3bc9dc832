"""Which traffic of a Service the kernel leads to a listener of this process, and the rules' model of that.

What the kernel decided before it decides still: whether an address is asked, who may (source ranges), who is refused
and how. Only the endpoints are exchanged, all for one, the listener, which then chooses among the real ones. It sees
the client's own address: a packet that is delivered to the host itself is never masqueraded.

UDP, SCTP and ranges of ports stay with the kernel. What a Service may ask of the userspace plane is about connections,
and a datagram that comes by way of a listener does not say which address was asked.
Rule: issue of the userspace plane, part 3 ("on the same VIP").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from seaway.net.family import family_of
from seaway.proxy.balance import Balance
from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import Forwarding, Frontend, Masquerade, Refusal, ServiceForwarding, Target
from seaway.proxy.userspace.plan import Listening, Place, Wanted, refuses_everybody


def is_split(f: Forwarding) -> bool:
    """The userspace plane can serve it by way of the kernel."""
    return f.frontend.protocol == "TCP" and not f.frontend.last_port


def select_userspace(service: ServiceForwarding | None) -> ServiceForwarding | None:
    """What of the Service is for the userspace plane; None: nothing."""
    if service is None or not service.asks_userspace:
        return None
    chosen = tuple(_leave_to_the_kernel(f) for f in service.forwardings if is_split(f))
    return replace(service, forwardings=chosen) if chosen else None


def _leave_to_the_kernel(f: Forwarding) -> Forwarding:
    """Without what the rules decide before: source ranges, and who is refused because nobody serves on this node.

    The rules may know Pods by links; who comes although outsiders are refused is none.
    """
    return replace(f, source_ranges=(), outside=f.outside or None)


def retire(service: ServiceForwarding) -> ServiceForwarding:
    """For the userspace plane, when the kernel serves the Service again: nobody new, but connections go on.

    They stay with an endpoint as long as the Service has it.
    """
    return replace(service, forwardings=tuple(_retire_one(f) for f in service.forwardings if is_split(f)))


def _retire_one(f: Forwarding) -> Forwarding:
    stay = {*f.endpoints, *(f.outside or ()), *f.serving}
    return replace(f, endpoints=(), outside=None, refusal=Refusal.REJECT, serving=tuple(sorted(stay)))


def plan_redirected(service: ServiceForwarding, node: NodeView) -> tuple[dict[Listening, Wanted], tuple[str, ...]]:
    """The listeners that the kernel leads to: on the node's own address, at any free port.

    Loopback would not do: from other machines, nothing is led there. Second: what has no place, in words.
    """
    wanted = [f for f in service.forwardings if not refuses_everybody(f)]
    address = next((a for a in node.addresses if family_of(a) is service.family), None)
    if address is None:
        text = f"the node has no address of {service.family.value} to listen on: the kernel serves the Service"
        return {}, (text,) if wanted else ()
    return {Listening(service.service, f.frontend, address): Wanted((Place(address, 0),), f) for f in wanted}, ()


def redirect(service: ServiceForwarding, find_listener: Callable[[Frontend], Target | None]) -> ServiceForwarding:
    """The Service as the kernel is to forward it.

    find_listener: where the userspace plane listens for the frontend; None: nowhere, and the kernel serves it itself.
    """
    return replace(service, forwardings=tuple(_redirect_one(f, find_listener) for f in service.forwardings))


def _redirect_one(f: Forwarding, find_listener: Callable[[Frontend], Target | None]) -> Forwarding:
    if not is_split(f) or (listener := find_listener(f.frontend)) is None:
        return f
    outside = f.outside if f.outside is None else _exchange(f.outside, listener)
    return replace(
        f,
        endpoints=_exchange(f.endpoints, listener),
        outside=outside,
        # Nothing leaves the host, so that no source has to be replaced for the answers' sake.
        masquerade=Masquerade.NODE if f.masquerade is Masquerade.ALWAYS else f.masquerade,
        affinity_seconds=None,
        balance=Balance.RANDOM,
        serving=(),
    )


def _exchange(endpoints: tuple[Target, ...], listener: Target) -> tuple[Target, ...]:
    """Where nobody serves, nobody listens either."""
    return (listener,) if endpoints else ()
