"""How a checked endpoint is held down in its slice, and how what its author wrote is not lost.

1. Only endpoints that their author wants to get traffic are held down: an unset `ready` is wanted, a false one is not.
2. A held one has `ready` and `serving` false; an annotation of the slice remembers its own conditions, by address.
3. So the slice alone says who is down: a restarted loop begins with that, and who lets go restores the author's words.
4. Conditions that are not as this module leaves them are new words of the author, whatever the annotation says.

Shared by the loop of health checks and by the one that mirrors Endpoints, which writes the same slices.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import TypeAlias

import msgspec

from seaway.api.endpointslice.types import Endpoint, EndpointConditions

ANNOTATION_CHECK = "seaway.dev/check"
"""On the Service: how its endpoints are checked."""
ANNOTATION_HELD = "seaway.dev/held-down"
"""On the slice: the endpoints that are held down, with the conditions that their author wrote."""

Held: TypeAlias = Mapping[str, EndpointConditions]
"""By the first address of the endpoint."""

_decode = msgspec.json.Decoder(dict[str, EndpointConditions]).decode


def parse_held(annotations: Mapping[str, str]) -> Held:
    """What the slice remembers. An annotation that cannot be read remembers nothing: it may be anybody's."""
    try:
        return _decode(annotations.get(ANNOTATION_HELD, "{}"))
    except (msgspec.DecodeError, UnicodeError):
        return {}


def render_held(held: Held) -> str | None:
    """The annotation's value, or None when nothing is held down. Equal values have equal texts."""
    if not held:
        return None
    wire = {address: _strip(held[address]) for address in sorted(held)}
    return msgspec.json.encode(wire).decode()


def put_down(conditions: EndpointConditions) -> EndpointConditions:
    """The conditions of an endpoint that is held down."""
    return EndpointConditions(ready=False, serving=False, terminating=conditions.terminating)


def is_held(endpoint: Endpoint, held: Held) -> bool:
    """The endpoint is as this module left it."""
    own = held.get(_address_of(endpoint))
    return own is not None and endpoint.conditions == put_down(own)


def find_own_conditions(endpoint: Endpoint, held: Held) -> EndpointConditions:
    """The conditions that the endpoint's author wrote."""
    return held[_address_of(endpoint)] if is_held(endpoint, held) else endpoint.conditions


def hold(endpoints: Iterable[Endpoint], down: Container[str]) -> tuple[tuple[Endpoint, ...], Held]:
    """The endpoints, those of the addresses in `down` held down, and what there is to remember.

    endpoints: with their authors' conditions; not modified.
    """
    result: list[Endpoint] = []
    held: dict[str, EndpointConditions] = {}
    for endpoint in endpoints:
        address = _address_of(endpoint)
        if endpoint.is_ready and address in down:
            own = held.setdefault(address, endpoint.conditions)
            endpoint = msgspec.structs.replace(endpoint, conditions=put_down(own))
        result.append(endpoint)
    return tuple(result), held


def _address_of(endpoint: Endpoint) -> str:
    return endpoint.addresses[0] if endpoint.addresses else ""


def _strip(conditions: EndpointConditions) -> dict[str, bool]:
    return {key: value for key, value in msgspec.to_builtins(conditions).items() if value is not None}
