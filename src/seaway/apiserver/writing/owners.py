"""Who has the number that a Service was refused: a warning beside the refusal, so that nobody has to search.

Only who may read the holder is told its name. Beyond upstream: the Status itself is as upstream has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from seaway.api.machinery.errors import ApiError
from seaway.api.machinery.http import Identity
from seaway.api.registry import IP_ADDRESSES, SERVICES, Resource
from seaway.apiserver.access.rbac import Attributes
from seaway.apiserver.allocation.allocate import ADDRESS_PREFIX, PORT_PREFIX, TakenBy
from seaway.apiserver.record import decode_object
from seaway.apiserver.state import ServerState


@contextmanager
def naming_owners(state: ServerState, identity: Identity) -> Iterator[None]:
    """A refusal because a number is taken leaves with a warning that says by whom."""
    try:
        yield
    except ApiError as error:
        if isinstance(error.__cause__, TakenBy):
            error.warnings = (*error.warnings, describe_owner(state, identity, error.__cause__))
        raise


def describe_owner(state: ServerState, identity: Identity, taken: TakenBy) -> str:
    """One sentence, with the holder's name for those who may read the holder."""
    is_port = taken.key.startswith(PORT_PREFIX)
    number = taken.key[len(PORT_PREFIX if is_port else ADDRESS_PREFIX) :]
    what = f"node port {number}" if is_port else f"cluster IP {number}"
    if taken.is_own:
        return f"{what} is asked for more than once, or given up, by this very request"
    if taken.holder_key:
        may_read = may_read_service(state, identity, taken.holder_key)
        return f'{what} is held by Service "{taken.holder_key}"' if may_read else f"{what} is held by another Service"
    if not is_port and _may_read(state, identity, IP_ADDRESSES, "", number):
        return f'{what} is held by IPAddress "{number}"{_describe_parent(state, number)}'
    return f"{what} is held by something that is no Service"


def may_read_service(state: ServerState, identity: Identity, holder_key: str) -> bool:
    """holder_key: "namespace/name", as allocation has it."""
    namespace, _, name = holder_key.partition("/")
    return _may_read(state, identity, SERVICES, namespace, name)


def _describe_parent(state: ServerState, address: str) -> str:
    record = state.find(IP_ADDRESSES, "", address)
    parent = {} if record is None else (decode_object(record.body).get("spec") or {}).get("parentRef") or {}
    kind = ".".join(filter(None, (parent.get("resource"), parent.get("group"))))
    name = "/".join(filter(None, (parent.get("namespace"), parent.get("name"))))
    return f", which belongs to {kind} {name}" if kind else ""


def _may_read(state: ServerState, identity: Identity, resource: Resource, namespace: str, name: str) -> bool:
    asked = Attributes("get", resource.group, resource.plural, "", namespace, name)
    return state.decide(identity, asked).allowed
