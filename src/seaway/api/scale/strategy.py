"""A Scale has no rules of its own: the workload that it changes has them."""

from __future__ import annotations

from seaway.api.machinery.strategy import Strategy

STRATEGY = Strategy()
