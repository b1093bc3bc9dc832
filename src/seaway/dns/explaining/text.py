"""Explanations as text for a terminal, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from seaway.dns.explaining.explain import Explanation, Verdict
from seaway.dns.explaining.walk import Walk

MAX_ENDPOINTS = 50
"""More are counted, not listed."""


def encode_json(found: Explanation | Walk) -> str:
    """Field by field; ends without a line break."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def render_explanation(found: Explanation) -> str:
    """The answer as zone-file lines, then what it rests on; ends without a line break."""
    return "\n".join(_render(found))


def render_walk(walk: Walk) -> str:
    """Numbered candidates, each with what became of it; then the explanation of the one that matters."""
    width = max(len(each.name) for each in walk.candidates)
    lines = []
    for position, each in enumerate(walk.candidates):
        note = "  <- answered" if position == walk.answered else "  (musl ends here)" * (position == walk.musl_ends)
        lines.append(f"  {position + 1}. {each.name:{width}}  {each.status}{note}")
    if walk.answered is None:
        lines.append("  none of them has such records" + _name_outsiders(walk))
    chosen = walk.candidates[walk.answered if walk.answered is not None else _most_telling(walk)]
    return "\n".join((*lines, "", *_render(chosen)))


def _name_outsiders(walk: Walk) -> str:
    outside = [each.name for each in walk.candidates if each.status == "FORWARDED"]
    return f" here; an upstream is asked for {', '.join(outside)}" if outside else ""


def _most_telling(walk: Walk) -> int:
    """The candidate that came closest: one whose Service exists, else whose name does, else the first."""
    closeness = [(bool(each.services), each.status == "NODATA") for each in walk.candidates]
    return closeness.index(max(closeness))


def _render(found: Explanation) -> Iterator[str]:
    yield f"{found.name} {found.qtype}: {found.status}"
    for line in found.answer:
        yield f"  {line}"
    if found.authority:
        yield "authority:"
        yield from (f"  {line}" for line in found.authority)
    if found.additional:
        yield "additional:"
        yield from (f"  {line}" for line in found.additional)
    yield f"because: {found.reason}"
    yield f"zone: {found.zone or 'none of ours'}; shape of the name: {found.shape}"
    for service in found.services:
        yield f"service: {service}"
    if found.endpoints:
        used = sum(not verdict.reason for verdict in found.endpoints)
        yield f"endpoints: {used} of {len(found.endpoints)} in the answer"
        yield from _render_endpoints(found.endpoints)
    if found.target is not None:
        yield ""
        yield from _render(found.target)


def _render_endpoints(verdicts: tuple[Verdict, ...]) -> Iterator[str]:
    shown = sorted(verdicts, key=lambda verdict: bool(verdict.reason))[:MAX_ENDPOINTS]
    address, name, pod = (max(len(getattr(each, part)) for each in shown) for part in ("address", "name", "pod"))
    for each in shown:
        fate = f"left out: {each.reason}" if each.reason else "used"
        yield f"  {each.address:{address}}  {each.name:{name}}  {each.pod or '-':{max(pod, 1)}}  {each.slice}  {fate}"
    if len(verdicts) > MAX_ENDPOINTS:
        yield f"  and {len(verdicts) - MAX_ENDPOINTS} more"
