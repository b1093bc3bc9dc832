"""The directives `forward` and `cache`. Rule: spec "discovery" A3.3, A3.4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from seaway.dns.forwarding.config import (
    RCODES,
    CacheConfig,
    Policy,
    RouteConfig,
    TlsOptions,
)
from seaway.dns.forwarding.upstreams import Upstream, parse_resolv_conf, parse_upstream
from seaway.dns.settings.corefile import Directive
from seaway.dns.settings.draft import Draft, count_arguments, no_argument, one_argument, some_arguments
from seaway.dns.settings.words import (
    Read,
    read_choice,
    read_codes,
    read_number,
    read_seconds,
    read_zone,
    read_zones,
)


def read_forward(directive: Directive, draft: Draft) -> None:
    """`forward FROM TO...`: one more route. Raises SettingsError, ValueError or OSError."""
    if len(directive.arguments) < 2:
        raise directive.wrong("forward: FROM and at least one TO needed, as in 'forward . 10.0.0.1'")
    zone, *words = directive.arguments
    options: dict[str, Any] = {"zone": read_zones((zone,))[0], "upstreams": _read_upstreams(words, draft.read)}
    for each in directive.body:
        handler = _FORWARD.get(each.name)
        if handler is None:
            raise each.wrong(f"unknown property '{each.name}'; known here: {', '.join(sorted(_FORWARD))}")
        try:
            handler(each, options)
        except ValueError as error:
            raise each.wrong(f"{each.name}: {error}") from None
    draft.block["routes"] = (*draft.block.get("routes", ()), RouteConfig(**options))


def _read_upstreams(words: Sequence[str], read: Read) -> tuple[Upstream, ...]:
    """Addresses; and the name servers of files, which are read once."""
    found: list[Upstream] = []
    for word in words:
        if word.startswith(("/", "./")):
            servers = parse_resolv_conf(read(word))
            if not servers:
                raise ValueError(f"{word}: no nameserver found, at least one needed")
            found.extend(parse_upstream(server) for server in servers)
        else:
            found.append(parse_upstream(word))
    return tuple(found)


def _read_health_check(each: Directive, options: dict[str, Any]) -> None:
    first, *rest = some_arguments(each)
    options["check_seconds"] = read_seconds(first)
    if not options["check_seconds"]:
        raise ValueError("an interval of 0s found, more needed; 'max_fails 0' checks nothing")
    while rest:
        word = rest.pop(0)
        if word == "no_rec":
            options["check_recursive"] = False
        elif word == "domain" and rest:
            options["check_name"] = read_zone(rest.pop(0))
        else:
            raise ValueError(f"{word!r} found, no_rec or domain NAME allowed")


def _read_tls(each: Directive, options: dict[str, Any]) -> None:
    words = count_arguments(each, 0, 3)
    paths: dict[str, str] = {}
    if len(words) in (1, 3):
        paths["ca_path"] = words[-1]
    if len(words) >= 2:
        paths["cert_path"], paths["key_path"] = words[:2]
    options["tls"] = replace(options.get("tls", TlsOptions()), **paths)


def _flag(name: str) -> Callable[[Directive, dict[str, Any]], None]:
    def read(each: Directive, options: dict[str, Any]) -> None:
        no_argument(each)
        options[name] = True

    return read


def _value(name: str, convert: Callable[[str], Any]) -> Callable[[Directive, dict[str, Any]], None]:
    def read(each: Directive, options: dict[str, Any]) -> None:
        options[name] = convert(one_argument(each))

    return read


def _values(name: str, convert: Callable[[Sequence[str]], Any]) -> Callable[[Directive, dict[str, Any]], None]:
    def read(each: Directive, options: dict[str, Any]) -> None:
        options[name] = convert(some_arguments(each))

    return read


def _read_server_name(each: Directive, options: dict[str, Any]) -> None:
    options["tls"] = replace(options.get("tls", TlsOptions()), server_name=one_argument(each))


def _read_idle_limit(each: Directive, options: dict[str, Any]) -> None:
    """Of no effect: there is one stream per upstream."""
    read_number(one_argument(each))


_FORWARD: dict[str, Callable[[Directive, dict[str, Any]], None]] = {
    "except": _values("excluded", read_zones),
    "policy": _value("policy", lambda word: Policy(read_choice(word, [each.value for each in Policy]))),
    "max_fails": _value("max_fails", read_number),
    "expire": _value("expire_seconds", read_seconds),
    "health_check": _read_health_check,
    "force_tcp": _flag("force_tcp"),
    "prefer_udp": lambda each, options: no_argument(each),  # always so here
    "max_concurrent": _value("max_concurrent", read_number),
    "max_connect_attempts": _value("max_attempts", read_number),
    "max_idle_conns": _read_idle_limit,
    "random_case": _flag("random_case"),
    "read_timeout": _value("attempt_seconds", read_seconds),
    "failover": _values("failover", lambda words: read_codes(words, RCODES)),
    "next": _values("next_rcodes", lambda words: read_codes(words, RCODES)),
    "next_on_nodata": _flag("next_on_nodata"),
    "failfast_all_unhealthy_upstreams": _flag("fails_fast"),
    "tls": _read_tls,
    "tls_servername": _read_server_name,
}


def read_cache(directive: Directive, draft: Draft) -> None:
    """`cache [TTL] [ZONES...]`. Raises SettingsError or ValueError."""
    options: dict[str, Any] = {"success_max_seconds": 3600, "denial_max_seconds": 1800}
    words = list(directive.arguments)
    if words and words[0].lstrip("-").isdigit():
        ttl = int(words.pop(0))
        options = {"success_max_seconds": ttl, "denial_max_seconds": ttl}
    options["zones"] = read_zones(words)
    for each in directive.body:
        try:
            _read_cache_property(each, options)
        except ValueError as error:
            raise each.wrong(f"cache: {error}") from None
    for kind in ("success", "denial"):
        cap, floor = options[f"{kind}_max_seconds"], options.get(f"{kind}_min_seconds", 5)
        options[f"{kind}_min_seconds"] = min(floor, max(cap, 0))
    draft.block["cache"] = CacheConfig(**options)


def _read_cache_property(each: Directive, options: dict[str, Any]) -> None:
    match each.name:
        case "success" | "denial":
            words = count_arguments(each, 1, 3)
            options[f"{each.name}_capacity"] = read_number(words[0], low=1)
            if len(words) > 1:
                options[f"{each.name}_max_seconds"] = read_number(words[1])
            if len(words) > 2:
                options[f"{each.name}_min_seconds"] = read_number(words[2])
        case "prefetch":
            words = count_arguments(each, 1, 3)
            options["prefetch_hits"] = read_number(words[0])
            if len(words) > 1:
                options["prefetch_gap_seconds"] = read_seconds(words[1])
            if len(words) > 2:
                options["prefetch_percent"] = read_number(words[2].removesuffix("%"), low=10, high=90)
        case "serve_stale":
            words = count_arguments(each, 0, 3)
            options["stale_seconds"] = read_seconds(words[0]) if words else 3600.0
            if len(words) > 1:
                options["verifies"] = read_choice(words[1].lower(), ("immediate", "verify")) == "verify"
            if len(words) > 2:
                options["verify_seconds"] = read_seconds(words[2])
        case "servfail":
            options["failure_seconds"] = read_seconds(one_argument(each))
        case "disable":
            kind, *zones = some_arguments(each)
            kind = read_choice(kind, ("success", "denial"))
            options["unkept_successes" if kind == "success" else "unkept_denials"] = read_zones(zones) or ((),)
        case "keepttl":
            no_argument(each)
            options["keeps_ttl"] = True
        case _:
            raise each.wrong(f"unknown property '{each.name}'")
