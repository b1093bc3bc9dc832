"""The base of errors that an operator can mend: a daemon that meets one at its start says it in one line and ends."""

from __future__ import annotations


class OperationalError(Exception):
    """Subject, what was found, what was allowed, what to do."""
