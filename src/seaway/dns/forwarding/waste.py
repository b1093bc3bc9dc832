"""Who asks for names that do not exist, and how often: the clients whose search lists cost the most.

Every NXDOMAIN below the cluster domain counts, since nearly all are guesses of a search list (`ndots:5`). Clients are
as many as somebody cares to forge, so only the greatest counts are kept: at twice the limit the smaller half goes,
into the row `others`. Rule: spec "discovery" A3.6.
"""

from __future__ import annotations

from seaway.telemetry.metrics import Metrics

MAX_CLIENTS = 50
OTHERS = ("others",)


class WastedQueries:
    """Counts per client address, as a metric."""

    def __init__(self, metrics: Metrics | None = None, *, max_clients: int = MAX_CLIENTS) -> None:
        counter = (metrics or Metrics()).counter(
            "seaway_dns_wasted_queries_total", "Queries for names of the cluster domain that do not exist.", "client"
        )
        self._cells = counter.cells
        self._max_clients = max_clients

    def note(self, client: str) -> None:
        """One more."""
        cells, key = self._cells, (client,)
        cells[key] = cells.get(key, 0.0) + 1.0
        if len(cells) > 2 * self._max_clients:
            self._prune()

    def top(self, limit: int) -> list[tuple[str, int]]:
        """The clients with the greatest counts, sorted by count and address."""
        found = ((key[0], int(count)) for key, count in self._cells.items() if key != OTHERS)
        return sorted(found, key=lambda item: (-item[1], item[0]))[:limit]

    def _prune(self) -> None:
        kept = {client for client, _ in self.top(self._max_clients)}
        for key in [key for key in self._cells if key != OTHERS and key[0] not in kept]:
            self._cells[OTHERS] = self._cells.get(OTHERS, 0.0) + self._cells.pop(key)
