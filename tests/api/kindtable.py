"""Tables of what a kind refuses: changes of its least object, and the texts that a client sees."""

from __future__ import annotations

from typing import Any

import pytest

Json = dict[str, Any]
Case = tuple[str, Json, list[str]]


def cases(table: list[Case]) -> pytest.MarkDecorator:
    """One test per row; the first column is the rule as a sentence."""
    rows = [pytest.param(changes, texts, id=rule) for rule, changes, texts in table]
    return pytest.mark.parametrize(("changes", "texts"), rows)
