"""Who asks for names that do not exist, and how often: the clients whose search lists cost the most.

Every NXDOMAIN below the cluster domain counts, since nearly all are guesses of a search list (`ndots:5`). Clients are
as many as somebody cares to forge, so only the greatest counts are kept: at twice the limit the smaller half goes,
into a count of its own. Rule: spec "discovery" A3.6.
"""

from __future__ import annotations

MAX_CLIENTS = 1000
SHOWN_CLIENTS = 20


class WastedQueries:
    """Counts per client address."""

    def __init__(self, *, max_clients: int = MAX_CLIENTS) -> None:
        self._max_clients = max_clients
        self._counts: dict[str, int] = {}
        self._forgotten = 0

    def note(self, client: str) -> None:
        """One more."""
        counts = self._counts
        counts[client] = counts.get(client, 0) + 1
        if len(counts) > 2 * self._max_clients:
            self._prune()

    @property
    def total(self) -> int:
        """Of all clients, those forgotten included."""
        return sum(self._counts.values()) + self._forgotten

    def top(self, limit: int = SHOWN_CLIENTS) -> list[tuple[str, int]]:
        """The clients with the greatest counts, sorted by count and address."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:limit]

    def _prune(self) -> None:
        kept = dict(self.top(self._max_clients))
        self._forgotten += sum(self._counts.values()) - sum(kept.values())
        self._counts = kept
