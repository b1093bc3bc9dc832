"""Errors that end a command with one line on stderr and exit code 1."""

from __future__ import annotations


class OperationalError(Exception):
    """Subject, what was found, what was allowed, what to do."""
