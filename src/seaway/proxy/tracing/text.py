"""A walk as text for a terminal."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from seaway.proxy.tracing.walk import Question, Verdict, Walk

MAX_ENDPOINTS = 50
"""More are counted, not listed."""


class QuestionError(ValueError):
    """What was asked cannot be understood."""


def render_walk(walk: Walk, node: str) -> str:
    """Numbered steps, with the endpoints under the step that names their policy; ends without a line break."""
    q = walk.question
    lines = [f"{q.protocol} from {q.source} to {_join(q.destination, q.port)}, as {node} handles it"]
    *steps, end = walk.steps
    lines += [f" {number}. {step}" for number, step in enumerate(steps, 1)]
    if walk.endpoints:
        lines.append(" Endpoints:")
        lines += _render_endpoints(walk.endpoints)
    lines.append(f" => {end}")
    return "\n".join(lines)


def _render_endpoints(verdicts: tuple[Verdict, ...]) -> Iterator[str]:
    shown = verdicts[:MAX_ENDPOINTS]
    targets = [_join(verdict.target.address, verdict.target.port) for verdict in shown]
    widths = max(map(len, targets)), max(len(verdict.node) for verdict in shown)
    for target, verdict in zip(targets, shown, strict=True):
        fate = f"left out: {verdict.reason}" if verdict.reason else "may serve"
        yield f"    {target:{widths[0]}}  {verdict.node or '-':{max(widths[1], 1)}}  {fate}"
    if len(verdicts) > MAX_ENDPOINTS:
        yield f"    and {len(verdicts) - MAX_ENDPOINTS} more"


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def parse_question(source: str, destination: str) -> Question:
    """`10.244.0.7` and `10.96.0.10:80/tcp`, `[fd10::1]:80/udp`; without a protocol TCP. Raises QuestionError."""
    place, slash, protocol = destination.partition("/")
    protocol = protocol.upper() if slash else "TCP"
    address, colon, port = place.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) <= 65535:
        raise QuestionError(
            f"{destination!r}: ADDRESS:PORT/PROTOCOL wanted, like 10.96.0.10:80/tcp or [fd10::1]:80/udp"
        )
    if protocol not in ("TCP", "UDP", "SCTP"):
        raise QuestionError(f"{protocol.lower()!r}: a protocol is tcp, udp or sctp")
    try:
        parsed = ipaddress.ip_address(source), ipaddress.ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        raise QuestionError(str(error)) from None
    if parsed[0].version != parsed[1].version:
        raise QuestionError(f"{source} and {address} are of two families")
    return Question(str(parsed[0]), str(parsed[1]), int(port), protocol)
