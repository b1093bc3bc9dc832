"""What a round consists of: values that can be written to a file, read back and played again."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from seaway.api.machinery.http import ANONYMOUS, Identity, Request

EVERYONE = "system:authenticated"
WHO = {
    "admin": Identity("admin", (EVERYONE, "system:masters")),
    "user": Identity("jane", ("developers", EVERYONE)),
    "nobody": Identity("nobody", ()),
    "anonymous": ANONYMOUS,
    "node": Identity("system:node:node-1", (EVERYONE, "system:nodes")),
    "manager": Identity("system:kube-controller-manager", (EVERYONE,)),
    "proxy": Identity("system:kube-proxy", (EVERYONE,)),
    "account": Identity(
        "system:serviceaccount:default:default",
        (EVERYONE, "system:serviceaccounts", "system:serviceaccounts:default"),
    ),
}
POWERLESS = frozenset(("nobody", "anonymous"))
"""Nobody ever binds a role to these: nothing but health and version answers them."""


@dataclass(frozen=True, slots=True)
class Send:
    """One request. verifies: a write is read back, and put back as it was read."""

    who: str
    request: Request
    verifies: bool = False


@dataclass(frozen=True, slots=True)
class Together:
    """Requests in flight at once."""

    sends: tuple[Send, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """Take what the watch of that number has. Watches are counted from 0 as they are opened."""

    watch: int


@dataclass(frozen=True, slots=True)
class Close:
    """The reader of the watch goes away."""

    watch: int


@dataclass(frozen=True, slots=True)
class Advance:
    """Let time pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Compact:
    """Forget history but for the last so many revisions."""

    keep: int


@dataclass(frozen=True, slots=True)
class Break:
    """The next so many commits find the store broken."""

    commits: int


@dataclass(frozen=True, slots=True)
class Check:
    """Judge the whole state."""


Step = Send | Together | Read | Close | Advance | Compact | Break | Check
_PLAIN: dict[str, type[Any]] = {
    cls.__name__.lower(): cls for cls in (Read, Close, Advance, Compact, Break, Check)
}  # fmt: skip


def encode_step(step: Step) -> str:
    """One line of a script."""
    return json.dumps(_to_json(step))


def decode_step(line: str) -> Step:
    """The step of a line that `encode_step` made."""
    return _from_json(json.loads(line))


def _to_json(step: Step) -> dict[str, Any]:
    if isinstance(step, Together):
        return {"together": [_to_json(send) for send in step.sends]}
    if isinstance(step, Send):
        request = step.request
        found: dict[str, Any] = {"who": step.who, "method": request.method, "path": request.path}
        if request.query:
            found["query"] = [list(pair) for pair in request.query]
        if request.headers:
            found["headers"] = dict(request.headers)
        if request.body:
            try:
                found["body"] = request.body.decode()
            except UnicodeDecodeError:
                found["base64"] = base64.b64encode(request.body).decode()
        if step.verifies:
            found["verifies"] = True
        return found
    fields = [getattr(step, name) for name in step.__slots__]
    return {type(step).__name__.lower(): fields}


def _from_json(line: dict[str, Any]) -> Step:
    if "together" in line:
        sends = tuple(_from_json(send) for send in line["together"])
        assert all(isinstance(send, Send) for send in sends)
        return Together(sends)  # type: ignore[arg-type]
    if "method" in line:
        body = base64.b64decode(line["base64"]) if "base64" in line else line.get("body", "").encode()
        query = tuple((key, value) for key, value in line.get("query", ()))
        request = Request(line["method"], line["path"], query, line.get("headers", {}), body)
        return Send(line["who"], request, line.get("verifies", False))
    ((name, fields),) = line.items()
    step: Step = _PLAIN[name](*fields)
    return step
