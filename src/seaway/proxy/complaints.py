"""What of a Service cannot be served, and why: for people to read, one sentence for each.

Nothing here decides what is served; `forwarding.py` and `claims.py` do, and leave out what is told here.
Rule: issue of the proxy, "bad input" (each refusal is one event); spec "proxy" §1.5, §1.7.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.service.types import Service
from seaway.net.family import Family
from seaway.proxy.balance import ANNOTATION_BALANCE, Balance, parse_balance, parse_weights
from seaway.proxy.connectionpolicy import (
    ANNOTATION_PLANE,
    USERSPACE,
    asks_userspace,
    list_userspace_only,
    parse_policy,
)
from seaway.proxy.forwarding import (
    ANNOTATION_RESET_AFTER,
    LABEL_PROXY_NAME,
    MAX_PORT,
    PROTOCOLS,
    Frontend,
    limit_endpoints,
    parse_address,
    parse_reset_after,
)
from seaway.proxy.portranges import ANNOTATION_PORT_RANGE, parse_port_ranges

MAX_COMPLAINTS = 10
"""Of one Service; the first tell what kind of nonsense it is."""
_FAMILIES = {family.value: family for family in Family}


@dataclass(frozen=True, slots=True)
class Complaint:
    """`reason` is the kind, in one word; `text` the sentence."""

    reason: str
    text: str


def find_complaints(
    service: Service,
    slices: Iterable[EndpointSlice],
    lost: Iterable[tuple[Frontend, str]] = (),
    *,
    unserved: Iterable[str] = (),
    is_userspace: bool = False,
) -> tuple[Complaint, ...]:
    """At most MAX_COMPLAINTS, each once. lost: frontends that another Service owns, and which.

    unserved: ranges of ports that nobody serves, and why, as `ServiceForwarding` has them.
    is_userspace: the proxy serves every Service by the userspace plane, not only those that ask for it.

    A Service that no proxy serves, or another one, has none.
    """
    spec = service.spec
    if spec.type == "ExternalName" or spec.cluster_ip in ("", "None") or LABEL_PROXY_NAME in service.metadata.labels:
        return ()
    found: dict[Complaint, None] = {}
    pieces = sorted(slices, key=lambda piece: piece.metadata.name)
    unfit = (Complaint("UnfitEndpoints", f"{ANNOTATION_PORT_RANGE}: {text}") for text in unserved)
    misplaced = () if is_userspace or asks_userspace(service.metadata.annotations) else _of_other_plane(service)
    for complaint in chain(_all_complaints(service, pieces, lost), unfit, misplaced):
        found[complaint] = None
        if len(found) == MAX_COMPLAINTS:
            break
    return tuple(found)


def _all_complaints(
    service: Service, slices: list[EndpointSlice], lost: Iterable[tuple[Frontend, str]]
) -> Iterator[Complaint]:
    yield from _of_annotations(service)
    for port in service.spec.ports:
        if port.protocol not in PROTOCOLS or not 0 < port.port <= MAX_PORT:
            yield Complaint("InvalidPort", f"port {port.port}/{_short(port.protocol)} is not served: no such port")
    for frontend, owner in lost:
        ports = f"{frontend.port}-{frontend.last_port}" if frontend.last_port else str(frontend.port)
        where = f"{frontend.address or 'node port'} {ports}/{frontend.protocol}"
        yield Complaint("AddressConflict", f"{where} is not served: Service {owner} has it")
    for piece in slices:
        yield from _of_slice(piece)
    for family in Family:
        yield from _of_size(slices, family, limit_endpoints(service))


def _of_annotations(service: Service) -> Iterator[Complaint]:
    annotations = service.metadata.annotations
    if parse_balance(annotations) is None:
        allowed = ", ".join(balance.value for balance in Balance)
        found = _short(annotations[ANNOTATION_BALANCE])
        yield Complaint(
            "InvalidAnnotation", f"{ANNOTATION_BALANCE}: {found} found, one of {allowed} allowed; random is used"
        )
    if annotations.get(ANNOTATION_RESET_AFTER) and parse_reset_after(service) is None:
        found = _short(annotations[ANNOTATION_RESET_AFTER])
        yield Complaint("InvalidAnnotation", f"{ANNOTATION_RESET_AFTER}: {found} found, a duration such as 30s allowed")
    for refusal in (*parse_port_ranges(annotations, service.spec.ports)[1], *parse_policy(annotations)[1]):
        yield Complaint("InvalidAnnotation", refusal)


def _of_other_plane(service: Service) -> Iterator[Complaint]:
    """What the Service asks for and only the userspace plane has, which does not serve it."""
    annotations = service.metadata.annotations
    asked = list_userspace_only(annotations)
    if parse_balance(annotations) is Balance.LEAST_CONNECTIONS:
        asked = (f"{ANNOTATION_BALANCE}: {Balance.LEAST_CONNECTIONS.value}", *asked)
    for name in asked:
        yield Complaint("NeedsUserspacePlane", f"{name} has no effect here: set {ANNOTATION_PLANE}: {USERSPACE}")


def _of_slice(piece: EndpointSlice) -> Iterator[Complaint]:
    name = f"EndpointSlice {piece.metadata.name}"
    *_, problem = parse_weights(piece.metadata.annotations)
    if problem:
        yield Complaint("InvalidAnnotation", f"{name}: {problem}")
    family = _FAMILIES.get(piece.address_type)
    if family is None:
        yield Complaint("InvalidEndpointSlice", f"{name} is not served: addressType {_short(piece.address_type)}")
        return
    for port in piece.ports or ():
        if not port.port:
            yield Complaint("InvalidEndpointSlice", f"{name}: port {_short(port.name)} has no number")
        elif not 0 < port.port <= MAX_PORT:
            yield Complaint("InvalidEndpointSlice", f"{name}: port {port.port} is beyond {MAX_PORT}")
    addresses = (address for endpoint in piece.endpoints or () for address in endpoint.addresses)
    for address in addresses:
        if parse_address(address, family) is None:
            yield Complaint("InvalidEndpointSlice", f"{name}: {_short(address)} is no address of {family.value}")
            return


def _of_size(slices: list[EndpointSlice], family: Family, limit: int) -> Iterator[Complaint]:
    """Counted roughly first: the same address twice is one endpoint."""
    sizes = (
        sum(len(e.addresses) for e in piece.endpoints or ()) for piece in slices if piece.address_type == family.value
    )
    if sum(sizes) <= limit:
        return
    distinct: dict[tuple[str, str], set[tuple[str, int]]] = {}
    for piece in slices:
        if piece.address_type != family.value:
            continue
        for port in piece.ports or ():
            known = distinct.setdefault((port.name, port.protocol or "TCP"), set())
            if len(known) <= limit:
                known.update((a, port.port or 0) for e in piece.endpoints or () for a in e.addresses)
    for (port_name, protocol), endpoints in sorted(distinct.items()):
        if len(endpoints) > limit:  # how many there are is not said: each number would be another event
            text = f"port {_short(port_name)}/{protocol}: more than {limit} endpoints of {family.value}"
            yield Complaint("TooManyEndpoints", f"{text}; {limit} are served")


def _short(text: str) -> str:
    return repr(text[:40])
