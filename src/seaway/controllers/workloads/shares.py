"""Shares of a count, as numbers or percentages. Rule: spec "controllers" §7.5 (surge up, unavailable down)."""

from __future__ import annotations

from seaway.api.machinery.counts import find_percent


def resolve_share(share: int | str | None, total: int, *, rounds_up: bool) -> int:
    """How many of the total the share is; nothing said, and what cannot be read, is 0."""
    percent = find_percent(share)
    if percent is None:
        return share if isinstance(share, int) else 0
    return -(-percent * total // 100) if rounds_up else percent * total // 100
