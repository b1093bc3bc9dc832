"""Roles are treated as their bindings are; only their columns differ."""

from __future__ import annotations

from seaway.api.rbac.strategy import STRATEGY

__all__ = ["STRATEGY"]
