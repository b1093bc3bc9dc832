"""What a Service's annotations ask for: how its endpoints are checked, how often, and how many results decide.

    seaway.dev/check:           KIND[://[:PORT][/REST]]     KIND: tcp, http, https, grpc
    seaway.dev/check-interval:  2s         seaway.dev/check-rise:  2
    seaway.dev/check-timeout:   1s         seaway.dev/check-fall:  3

PORT is a number, or the name of a port of the slice; without it each TCP port of the slice is checked. REST is the
path (with its query) of http and https, and the service that is asked for of grpc. There is no host: only the addresses
in the slices are ever dialled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from seaway.controllers.healthcheck.held import ANNOTATION_CHECK

ANNOTATION_INTERVAL = "seaway.dev/check-interval"
ANNOTATION_TIMEOUT = "seaway.dev/check-timeout"
ANNOTATION_RISE = "seaway.dev/check-rise"
ANNOTATION_FALL = "seaway.dev/check-fall"

KINDS = ("tcp", "http", "https", "grpc")
MIN_INTERVAL_SECONDS, MAX_INTERVAL_SECONDS = 0.25, 3600.0
MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS = 0.01, 10.0
"""A peer that says nothing holds one of few places for so long."""
MAX_ROW = 20
"""Results in a row, for rise and fall."""
DEFAULT_INTERVAL_SECONDS = 2.0
DEFAULT_TIMEOUT_SECONDS = 1.0
DEFAULT_RISE, DEFAULT_FALL = 2, 3
"""Interval, rise and fall as HAProxy's, the timeout as the kubelet's."""

MAX_REST = 1024
_MAX_SHOWN = 80
_check = re.compile(r"(?P<kind>[a-z]+)(?:://(?::(?P<port>[0-9a-z-]{1,63}))?(?P<rest>/[!-~]*)?)?", re.ASCII).fullmatch
_port_name = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII).fullmatch
_duration = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m)", re.ASCII).fullmatch
_count = re.compile(r"[0-9]{1,3}", re.ASCII).fullmatch
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}

_CHECK_ALLOWED = "tcp, http, https or grpc, then nothing or ://[:PORT][/PATH] without a host"
INTERVAL_ALLOWED = "250ms to 60m"
TIMEOUT_ALLOWED = "10ms to 10s, and no more than the interval"
ROW_ALLOWED = f"1 to {MAX_ROW}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How each endpoint is tried. `port` None: each TCP port of its slice. `rest`: see above; "" for tcp."""

    kind: str
    port: int | str | None = None
    rest: str = ""
    interval_seconds: float = DEFAULT_INTERVAL_SECONDS
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    rise: int = DEFAULT_RISE
    fall: int = DEFAULT_FALL


@dataclass(frozen=True, slots=True)
class BadAnnotation:
    """One annotation that cannot be meant."""

    name: str
    found: str
    allowed: str

    @property
    def text(self) -> str:
        """Subject, what was found, what was allowed."""
        shown = self.found if len(self.found) <= _MAX_SHOWN else self.found[:_MAX_SHOWN] + "…"
        return f"{self.name}: {shown!r} found, {self.allowed} allowed"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the annotations say. `check` None with errors: something was meant, and cannot be done."""

    check: Check | None = None
    errors: tuple[BadAnnotation, ...] = ()


def parse_check(annotations: Mapping[str, str]) -> Reading:
    """The check, or one error for each bad annotation, by name. Neither: no check is asked for."""
    text = annotations.get(ANNOTATION_CHECK)
    if text is None:
        return Reading()
    errors: list[BadAnnotation] = []
    for name in sorted(annotations):
        if name.startswith(f"{ANNOTATION_CHECK}-") and name not in OPTIONS:
            errors.append(BadAnnotation(name, annotations[name], f"no such annotation; {', '.join(OPTIONS)}"))
    target = _parse_target(text)
    if target is None:
        errors.append(BadAnnotation(ANNOTATION_CHECK, text, _CHECK_ALLOWED))
    interval = _parse_duration(annotations.get(ANNOTATION_INTERVAL), DEFAULT_INTERVAL_SECONDS)
    if interval is None or not MIN_INTERVAL_SECONDS <= interval <= MAX_INTERVAL_SECONDS:
        errors.append(BadAnnotation(ANNOTATION_INTERVAL, annotations[ANNOTATION_INTERVAL], INTERVAL_ALLOWED))
        interval = MAX_INTERVAL_SECONDS
    timeout = _parse_duration(annotations.get(ANNOTATION_TIMEOUT), min(DEFAULT_TIMEOUT_SECONDS, interval))
    if timeout is None or not MIN_TIMEOUT_SECONDS <= timeout <= min(MAX_TIMEOUT_SECONDS, interval):
        errors.append(BadAnnotation(ANNOTATION_TIMEOUT, annotations[ANNOTATION_TIMEOUT], TIMEOUT_ALLOWED))
    rows = {ANNOTATION_RISE: DEFAULT_RISE, ANNOTATION_FALL: DEFAULT_FALL}
    for name, default in rows.items():
        found = annotations.get(name, str(default))
        if not _count(found) or not 1 <= int(found) <= MAX_ROW:
            errors.append(BadAnnotation(name, found, ROW_ALLOWED))
        else:
            rows[name] = int(found)
    if errors or target is None or timeout is None:
        return Reading(errors=tuple(sorted(errors, key=lambda error: error.name)))
    kind, port, rest = target
    return Reading(
        Check(
            kind=kind, port=port, rest=rest, interval_seconds=interval, timeout_seconds=timeout,
            rise=rows[ANNOTATION_RISE], fall=rows[ANNOTATION_FALL],
        )
    )  # fmt: skip


def _parse_target(text: str) -> tuple[str, int | str | None, str] | None:
    """Kind, port and rest, or None."""
    match = _check(text)
    if match is None or match["kind"] not in KINDS:
        return None
    kind, rest = match["kind"], match["rest"] or ""
    port = _parse_port(match["port"])
    if (match["port"] is not None and port is None) or len(rest) > MAX_REST or "#" in rest:
        return None
    if kind == "tcp":
        return None if rest.strip("/") else (kind, port, "")
    if kind == "grpc":
        return kind, port, rest.removeprefix("/")
    return kind, port, rest or "/"


def _parse_port(text: str | None) -> int | str | None:
    if text is None:
        return None
    if text.isdecimal():
        return int(text) if len(text) <= 5 and 0 < int(text) < 65536 else None
    return text if _port_name(text) else None


def _parse_duration(text: str | None, default: float) -> float | None:
    """Seconds; None for what is no duration."""
    if text is None:
        return default
    match = _duration(text)
    return float(match[1]) * _UNITS[match[2]] if match else None


OPTIONS = (ANNOTATION_FALL, ANNOTATION_INTERVAL, ANNOTATION_RISE, ANNOTATION_TIMEOUT)
