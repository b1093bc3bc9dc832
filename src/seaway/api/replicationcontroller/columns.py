"""Columns of ReplicationControllers: those of ReplicaSets. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import render_labels
from seaway.api.replicaset.columns import COLUMNS, replica_cells

__all__ = ["COLUMNS", "cells"]


def cells(obj: dict[str, Any], wall_now: datetime) -> list[Any]:
    """The row of a ReplicationController."""
    return replica_cells(obj, render_labels(obj.get("spec", {}).get("selector", {})), wall_now)
