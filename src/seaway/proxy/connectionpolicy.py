"""What a Service asks for that only a plane can do which holds both ends of a connection: by annotation.

    seaway.dev/plane:               userspace
    seaway.dev/proxy-protocol:      v1 | v2
    seaway.dev/max-connection-age:  30m            jitter of a tenth is added or taken
    seaway.dev/connect-timeout:     2s
    seaway.dev/connect-retries:     2              0 to 10; each at another endpoint
    seaway.dev/ejection:            off | failures=5,for=30s

What cannot be understood is as if it were not there, and is told once. All but the first count only for TCP.
Rule: issue of the userspace plane, part 3 (upstream has none of these).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from seaway.api.machinery.duration import DurationError, parse_duration

ANNOTATION_PLANE = "seaway.dev/plane"
ANNOTATION_PROXY_PROTOCOL = "seaway.dev/proxy-protocol"
ANNOTATION_MAX_AGE = "seaway.dev/max-connection-age"
ANNOTATION_TIMEOUT = "seaway.dev/connect-timeout"
ANNOTATION_RETRIES = "seaway.dev/connect-retries"
ANNOTATION_EJECTION = "seaway.dev/ejection"
USERSPACE = "userspace"
MAX_TEXT = 100
"""Characters of a value that is read at all."""
MAX_RETRIES = 10
MAX_FAILURES = 1000
AGE_SECONDS = (1.0, 7 * 86400.0)
TIMEOUT_SECONDS = (0.01, 120.0)
"""At most as long as Linux itself tries (tcp_syn_retries 6: 127 s)."""
EJECTION_SECONDS = (0.1, 86400.0)

ProxyProtocol = Literal["v1", "v2"]


@dataclass(frozen=True, slots=True)
class EjectionRule:
    """An endpoint that refuses `failures` connections in a row gets no new ones for `seconds`, longer each time."""

    failures: int = 5
    seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPolicy:
    """How connections are made and ended. The defaults are what a Service without annotations gets."""

    proxy_protocol: ProxyProtocol | None = None
    max_age_seconds: float | None = None
    connect_timeout_seconds: float = 5.0
    """haproxy's and Envoy's usual value: beyond a second and a third SYN, which Linux sends after 1 and 3 seconds."""
    connect_retries: int = 2
    """How many further endpoints are tried when one refuses, or does not answer, before any byte was sent."""
    ejection: EjectionRule | None = None


DEFAULT = ConnectionPolicy()


def asks_userspace(annotations: Mapping[str, str]) -> bool:
    """The Service is to be served by the userspace plane, whichever plane serves the others."""
    return annotations.get(ANNOTATION_PLANE) == USERSPACE


def parse_policy(annotations: Mapping[str, str]) -> tuple[ConnectionPolicy, tuple[str, ...]]:
    """What the annotations say, and a sentence for each that cannot be understood, in the order above."""
    problems: list[str] = []
    if annotations.get(ANNOTATION_PLANE, USERSPACE) != USERSPACE:
        found = _short(annotations[ANNOTATION_PLANE])
        problems.append(f"{ANNOTATION_PLANE}: {found} found, {USERSPACE} allowed; the proxy's own plane serves it")
    read: dict[str, Any] = {}
    for annotation, name, parse, allowed in _ANNOTATIONS:
        if (text := annotations.get(annotation)) is None:
            continue
        try:
            read[name] = parse(text.strip() if len(text) <= MAX_TEXT else "")
        except ValueError:
            problems.append(f"{annotation}: {_short(text)} found, {allowed}")
    return ConnectionPolicy(**read) if read else DEFAULT, tuple(problems)


def list_userspace_only(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """The annotations, sorted, that mean nothing on another plane, and are there."""
    return tuple(sorted(annotation for annotation, *_ in _ANNOTATIONS if annotation in annotations))


def _parse_proxy_protocol(text: str) -> str:
    if text not in get_args(ProxyProtocol):
        raise ValueError(text)
    return text


def _parse_seconds(text: str, *, least: float, most: float) -> float:
    try:
        seconds = parse_duration(text)
    except DurationError:
        raise ValueError(text) from None
    if not least <= seconds <= most:
        raise ValueError(text)
    return seconds


def _parse_count(text: str, *, least: int, most: int) -> int:
    """Decimal, without signs and leading zeros."""
    if not (text.isascii() and text.isdigit()) or str(int(text)) != text or not least <= int(text) <= most:
        raise ValueError(text)
    return int(text)


def _parse_ejection(text: str) -> EjectionRule | None:
    """`off`, or either part in any order; what is left out has its default."""
    if text == "off":
        return None
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator:
            raise ValueError(text)
        if name == "failures" and "failures" not in found:
            found["failures"] = _parse_count(value, least=1, most=MAX_FAILURES)
        elif name == "for" and "seconds" not in found:
            found["seconds"] = _parse_seconds(value, least=EJECTION_SECONDS[0], most=EJECTION_SECONDS[1])
        else:
            raise ValueError(text)
    return EjectionRule(**found)


def _short(text: str) -> str:
    return repr(text[:40])


_ANNOTATIONS: tuple[tuple[str, str, Callable[[str], object], str], ...] = (
    (ANNOTATION_PROXY_PROTOCOL, "proxy_protocol", _parse_proxy_protocol, "v1 or v2 allowed; no header is sent"),
    (
        ANNOTATION_MAX_AGE,
        "max_age_seconds",
        functools.partial(_parse_seconds, least=AGE_SECONDS[0], most=AGE_SECONDS[1]),
        "a duration from 1s to 168h allowed; connections have no limit",
    ),
    (
        ANNOTATION_TIMEOUT,
        "connect_timeout_seconds",
        functools.partial(_parse_seconds, least=TIMEOUT_SECONDS[0], most=TIMEOUT_SECONDS[1]),
        f"a duration from 10ms to 2m allowed; {DEFAULT.connect_timeout_seconds:g}s is used",
    ),
    (
        ANNOTATION_RETRIES,
        "connect_retries",
        functools.partial(_parse_count, least=0, most=MAX_RETRIES),
        f"a number from 0 to {MAX_RETRIES} allowed; {DEFAULT.connect_retries} is used",
    ),
    (
        ANNOTATION_EJECTION,
        "ejection",
        _parse_ejection,
        "off, or such as failures=5,for=30s allowed; nothing is ejected",
    ),
)
