"""Options of all tests."""

from __future__ import annotations

import pytest
from hypothesis import settings


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write what is found anew: outcomes of golden conversations, docs/compatibility.md; review the diff",
    )


settings.register_profile("no-clock", deadline=None)
settings.load_profile("no-clock")  # a busy machine must not fail a law
