"""What the directives of a Corefile mean: a row for each, from its words to fields of the configuration.

Directives may come in any order, as CoreDNS has an order of its own. What is not known is an error, never ignored: a
server that leaves out what it was told is worse than one that does not start. Rule: spec "discovery" A1.13
(kubernetes), A3.3 (forward), A3.4 (cache), A4.2 (health, ready, reload), A4.4 (log, errors).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from seaway.dns.config import KubernetesOptions
from seaway.dns.forwarding.config import (
    MIN_RELOAD_SECONDS,
    QTYPES,
    RCODES,
    Block,
    CacheConfig,
    Consolidation,
    HostsConfig,
    LogClass,
    LogConfig,
    Match,
    NameRewrite,
    Policy,
    Rewrite,
    RouteConfig,
    TlsOptions,
    TypeRewrite,
)
from seaway.dns.forwarding.upstreams import Upstream, parse_resolv_conf, parse_upstream
from seaway.dns.records import Name
from seaway.dns.settings.corefile import Directive
from seaway.dns.settings.words import (
    Read,
    read_address,
    read_choice,
    read_codes,
    read_number,
    read_seconds,
    read_zone,
    read_zones,
)

_REPEATABLE = frozenset(("forward", "rewrite"))
_LOG_DEFAULT = "{common}"


@dataclass
class Draft:
    """What the directives of one server block have said so far."""

    zones: tuple[Name, ...]
    read: Read
    block: dict[str, Any] = field(default_factory=dict)
    """Fields of Block."""
    server: dict[str, Any] = field(default_factory=dict)
    """Fields of DnsConfig."""
    lifecycle: dict[str, Any] = field(default_factory=dict)
    """Fields of Lifecycle."""
    bind: tuple[str, ...] = ()
    transferred: tuple[Name, ...] = ()

    def make_block(self, zone: Name) -> Block:
        """The block of one of its zones. Raises ValueError."""
        return Block(zone, **{"consolidations": None} | self.block)


def read_directives(directives: Sequence[Directive], zones: tuple[Name, ...], read: Read) -> Draft:
    """All directives of a server block. Raises SettingsError."""
    draft = Draft(zones, read)
    seen: set[str] = set()
    for directive in directives:
        handler = _DIRECTIVES.get(directive.name)
        if handler is None:
            raise directive.wrong(f"unknown directive {directive.name!r}; known here: {', '.join(DIRECTIVES)}")
        if directive.name in seen and directive.name not in _REPEATABLE:
            raise directive.wrong(f"{directive.name}: this plugin can only be used once per Server Block")
        seen.add(directive.name)
        try:
            handler(directive, draft)
        except OSError as error:
            raise directive.wrong(f"{directive.name}: {error.filename or ''}: {error.strerror}") from None
        except (ValueError, re.error) as error:
            raise directive.wrong(f"{directive.name}: {error}") from None
    domain = draft.server.get("cluster_domain", "")
    for directive in directives:
        if directive.name == "transfer" and any(b".".join(zone).decode() != domain for zone in draft.transferred):
            raise directive.wrong(f"transfer: {domain or 'no zone'} alone can be transferred from here")
    return draft


# -- kubernetes --------------------------------------------------------------------------------------------------------


def _read_kubernetes(directive: Directive, draft: Draft) -> None:
    zones = read_zones(directive.arguments) or draft.zones
    forward = [zone for zone in zones if not _is_reverse(zone)]
    if len(forward) != 1:
        raise directive.wrong(f"kubernetes: {len(forward)} zones of names found, one needed")
    options: dict[str, Any] = {"reverse_zones": tuple(zone for zone in zones if _is_reverse(zone)), "fallthrough": ()}
    server = draft.server
    server["cluster_domain"] = b".".join(forward[0]).decode()
    for each in directive.body:
        words = each.arguments
        match each.name:
            case "pods":
                server["pods"] = _one(each)
            case "ttl":
                server["ttl_seconds"] = _ttl(_one(each))
            case "startup_timeout":
                draft.lifecycle["startup_seconds"] = read_seconds(_one(each))
            case "namespaces":
                options["namespaces"] = _some(each)
            case "namespace_labels" | "labels":
                options[each.name] = " ".join(_some(each))
            case "noendpoints" | "endpoint_pod_names":
                _none(each)
                options["no_endpoints" if each.name == "noendpoints" else each.name] = True
            case "ignore":
                if words != ("empty_service",):
                    raise each.wrong(f"unable to parse ignore value: '{' '.join(words)}'")
                options["ignore_empty_service"] = True
            case "fallthrough":
                options["fallthrough"] = read_zones(words) or ((),)
            case "kubeconfig":
                options["kubeconfig"] = _one(each)  # its current context
            case "apiserver_qps" | "apiserver_burst" | "apiserver_max_inflight":
                float(_one(each))  # one watch per kind and no other request: there is nothing to limit
            case "endpoint" | "tls":
                raise each.wrong(f"{each.name}: not offered; the API server is a kubeconfig's, or that of the Pod")
            case "multicluster" | "zonal":
                raise each.wrong(f"{each.name}: not offered; the names are those of Services")
            case _:
                raise each.wrong(f"unknown property '{each.name}'")
    server["kubernetes"] = KubernetesOptions(**options)


def _ttl(text: str) -> int:
    try:
        ttl = read_number(text, high=3600)
    except ValueError:
        raise ValueError(f"ttl must be in range [0, 3600]: {text}") from None
    return ttl


def _is_reverse(zone: Name) -> bool:
    return zone[-2:] in ((b"in-addr", b"arpa"), (b"ip6", b"arpa"))


# -- forward, cache ----------------------------------------------------------------------------------------------------


def _read_forward(directive: Directive, draft: Draft) -> None:
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
    first, *rest = _some(each)
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
    words = _between(each, 0, 3)
    paths: dict[str, str] = {}
    if len(words) in (1, 3):
        paths["ca_path"] = words[-1]
    if len(words) >= 2:
        paths["cert_path"], paths["key_path"] = words[:2]
    options["tls"] = replace(options.get("tls", TlsOptions()), **paths)


def _flag(name: str) -> Callable[[Directive, dict[str, Any]], None]:
    def read(each: Directive, options: dict[str, Any]) -> None:
        _none(each)
        options[name] = True

    return read


def _value(name: str, convert: Callable[[str], Any]) -> Callable[[Directive, dict[str, Any]], None]:
    def read(each: Directive, options: dict[str, Any]) -> None:
        options[name] = convert(_one(each))

    return read


def _values(name: str, convert: Callable[[Sequence[str]], Any]) -> Callable[[Directive, dict[str, Any]], None]:
    def read(each: Directive, options: dict[str, Any]) -> None:
        options[name] = convert(_some(each))

    return read


def _read_server_name(each: Directive, options: dict[str, Any]) -> None:
    options["tls"] = replace(options.get("tls", TlsOptions()), server_name=_one(each))


_FORWARD: dict[str, Callable[[Directive, dict[str, Any]], None]] = {
    "except": _values("excluded", read_zones),
    "policy": _value("policy", lambda word: Policy(read_choice(word, [each.value for each in Policy]))),
    "max_fails": _value("max_fails", read_number),
    "expire": _value("expire_seconds", read_seconds),
    "health_check": _read_health_check,
    "force_tcp": _flag("force_tcp"),
    "prefer_udp": lambda each, options: _none(each),  # always so here
    "max_concurrent": _value("max_concurrent", read_number),
    "max_connect_attempts": _value("max_attempts", read_number),
    "max_idle_conns": lambda each, options: (read_number(_one(each)), None)[1],  # there is one stream per upstream
    "random_case": _flag("random_case"),
    "read_timeout": _value("attempt_seconds", read_seconds),
    "failover": _values("failover", lambda words: read_codes(words, RCODES)),
    "next": _values("next_rcodes", lambda words: read_codes(words, RCODES)),
    "next_on_nodata": _flag("next_on_nodata"),
    "failfast_all_unhealthy_upstreams": _flag("fails_fast"),
    "tls": _read_tls,
    "tls_servername": _read_server_name,
}


def _read_cache(directive: Directive, draft: Draft) -> None:
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
            words = _between(each, 1, 3)
            options[f"{each.name}_capacity"] = read_number(words[0], low=1)
            if len(words) > 1:
                options[f"{each.name}_max_seconds"] = read_number(words[1])
            if len(words) > 2:
                options[f"{each.name}_min_seconds"] = read_number(words[2])
        case "prefetch":
            words = _between(each, 1, 3)
            options["prefetch_hits"] = read_number(words[0])
            if len(words) > 1:
                options["prefetch_gap_seconds"] = read_seconds(words[1])
            if len(words) > 2:
                options["prefetch_percent"] = read_number(words[2].removesuffix("%"), low=10, high=90)
        case "serve_stale":
            words = _between(each, 0, 3)
            options["stale_seconds"] = read_seconds(words[0]) if words else 3600.0
            if len(words) > 1:
                options["verifies"] = read_choice(words[1].lower(), ("immediate", "verify")) == "verify"
            if len(words) > 2:
                options["verify_seconds"] = read_seconds(words[2])
        case "servfail":
            options["failure_seconds"] = read_seconds(_one(each))
        case "disable":
            kind, *zones = _some(each)
            kind = read_choice(kind, ("success", "denial"))
            options["unkept_successes" if kind == "success" else "unkept_denials"] = read_zones(zones) or ((),)
        case "keepttl":
            _none(each)
            options["keeps_ttl"] = True
        case _:
            raise each.wrong(f"unknown property '{each.name}'")


# -- transfer ----------------------------------------------------------------------------------------------------------


def _read_transfer(directive: Directive, draft: Draft) -> None:
    """Rule: spec "discovery" A1.12, A6 #25: the cluster's zone, and no other."""
    draft.transferred = read_zones(directive.arguments)
    peers: list[str] = []
    for each in directive.body:
        if each.name != "to":
            raise each.wrong(f"unknown property '{each.name}'")
        peers += _some(each)
    if not peers:
        raise directive.wrong("transfer: 'to' needed, with addresses or *")
    draft.server["transfer_to"] = tuple(peers)


# -- hosts, rewrite, autopath ------------------------------------------------------------------------------------------


def _read_hosts(directive: Directive, draft: Draft) -> None:
    words = list(directive.arguments)
    options: dict[str, Any] = {"path": ""}
    if words and "/" in words[0] and not words[0][0].isdigit():
        options["path"] = words.pop(0)
    elif not words and not any(_is_address(each.name) for each in directive.body):
        options["path"] = "/etc/hosts"
    options["zones"] = read_zones(words)
    inline: list[str] = []
    for each in directive.body:
        match each.name:
            case "fallthrough":
                options["fallthrough"] = read_zones(each.arguments)
            case "ttl":
                options["ttl_seconds"] = read_number(_one(each), low=1, high=65_535)
            case "reload":
                options["reload_seconds"] = read_seconds(_one(each))
            case "no_reverse":
                _none(each)
                options["has_reverse"] = False
            case name if _is_address(name):
                inline.append(" ".join((name, *_some(each))))
            case name:
                raise each.wrong(f"hosts: unknown property '{name}'")
    draft.block["hosts"] = HostsConfig(inline=tuple(inline), **options)


def _is_address(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", text))


def _read_rewrite(directive: Directive, draft: Draft) -> None:
    words = list(directive.arguments)
    stops = True
    if words and words[0] in ("stop", "continue"):
        stops = words.pop(0) == "stop"
    options: list[Sequence[str]] = []
    if directive.body:
        if words:
            raise directive.wrong("rewrite: words and a block found, one of the two allowed")
        words = [directive.body[0].name, *directive.body[0].arguments]
        options = [(each.name, *each.arguments) for each in directive.body[1:]]
    if len(words) < 3:
        raise directive.wrong("rewrite: FIELD, FROM and TO needed, as in 'rewrite name a.example.com b.example.com'")
    rule: Rewrite
    if words[0] == "name":
        rule = _read_name_rewrite(words[1:], options, stops=stops)
    elif words[0] == "type":
        if len(words) != 3 or options:
            raise ValueError("type: two types needed, as in 'rewrite type ANY HINFO'")
        source, target = (QTYPES[read_choice(word.upper(), sorted(QTYPES))] for word in words[1:])
        rule = TypeRewrite(source, target, stops)
    else:
        raise ValueError(f"{words[0]!r} found, name or type allowed")
    draft.block["rewrites"] = (*draft.block.get("rewrites", ()), rule)


def _read_name_rewrite(words: list[str], options: list[Sequence[str]], *, stops: bool) -> NameRewrite:
    kinds = {each.value: each for each in Match}
    kind = kinds[words.pop(0)] if words[0] in kinds and len(words) > 2 else Match.EXACT
    source, target, *rest = words
    if rest:
        options = [*_split_answers(rest), *options]
    is_auto = False
    answers: list[tuple[str, str]] = []
    for option in options:
        match tuple(option):
            case ("answer", "auto"):
                is_auto = True
            case ("answer", "name", pattern, replacement):
                re.compile(pattern)
                answers.append((pattern, replacement))
            case _:
                raise ValueError(f"{' '.join(option)!r} found, 'answer auto' or 'answer name FROM TO' allowed")
    if kind is Match.REGEX:
        re.compile(source)
    else:
        source = source.lower()
    if kind in (Match.EXACT, Match.SUFFIX):
        source, target = _dotted(source), _dotted(target)
    return NameRewrite(kind, source, target.lower(), is_auto, tuple(answers), stops)


def _split_answers(words: Sequence[str]) -> list[Sequence[str]]:
    """The options behind a rule, each of which begins with `answer`."""
    starts = [i for i, word in enumerate(words) if word == "answer"]
    if not starts or starts[0]:
        return [words]
    return [words[start:end] for start, end in zip(starts, [*starts[1:], len(words)], strict=True)]


def _dotted(text: str) -> str:
    return text if text.endswith(".") else text + "."


def _read_autopath(directive: Directive, draft: Draft) -> None:
    if directive.body or directive.arguments[-1:] != ("@kubernetes",):
        raise directive.wrong("autopath: '@kubernetes' needed as the source of the search list")
    draft.block["finds_paths"] = True


# -- the server --------------------------------------------------------------------------------------------------------


def _read_health(directive: Directive, draft: Draft) -> None:
    draft.lifecycle["health"] = read_address(_one(directive, ":8080"), port=8080)
    for each in directive.body:
        if each.name != "lameduck":
            raise each.wrong(f"health: unknown property '{each.name}'; known here: lameduck")
        draft.lifecycle["lameduck_seconds"] = read_seconds(_one(each))


def _read_ready(directive: Directive, draft: Draft) -> None:
    draft.lifecycle["ready"] = read_address(_one(directive, ":8181"), port=8181)
    for each in directive.body:
        if each.name != "monitor":
            raise each.wrong(f"ready: unknown property '{each.name}'; known here: monitor")
        read_choice(_one(each), ("until-ready", "continuously"))  # what is served last stays, so it is the same here


def _read_prometheus(directive: Directive, draft: Draft) -> None:
    draft.lifecycle["metrics"] = read_address(_one(directive, "localhost:9153"), port=9153)


def _read_reload(directive: Directive, draft: Draft) -> None:
    words = _between(directive, 0, 2)
    interval = read_seconds(words[0]) if words else 30.0
    jitter = read_seconds(words[1]) if len(words) > 1 else min(15.0, interval / 2)
    if interval < MIN_RELOAD_SECONDS:
        raise ValueError(f"interval value must be greater or equal to {MIN_RELOAD_SECONDS:g}s")
    draft.lifecycle["reload_seconds"] = interval
    draft.lifecycle["reload_jitter_seconds"] = min(jitter, interval / 2)


def _read_loop(directive: Directive, draft: Draft) -> None:
    _none(directive)
    draft.lifecycle["detects_loops"] = True


def _read_loadbalance(directive: Directive, draft: Draft) -> None:
    read_choice(_one(directive, "round_robin"), ("round_robin",))


def _read_bufsize(directive: Directive, draft: Draft) -> None:
    draft.server["max_udp_bytes"] = read_number(_one(directive, "1232"), low=512, high=4096)


def _read_bind(directive: Directive, draft: Draft) -> None:
    draft.bind = tuple(read_address(word, port=0)[0] for word in _some(directive))
    if directive.body:
        raise directive.wrong(f"bind: unknown property '{directive.body[0].name}'")


def _read_log(directive: Directive, draft: Draft) -> None:
    words = list(directive.arguments)
    if words and words[-1].startswith("{") and words.pop() != _LOG_DEFAULT:
        raise ValueError("a format of one's own found; only the common one is offered")
    classes: set[LogClass] = set()
    for each in directive.body:
        if each.name != "class":
            raise each.wrong(f"log: unknown property '{each.name}'; known here: class")
        for word in _some(each):
            classes.add(LogClass(read_choice(word, [known.value for known in LogClass])))
    draft.block["log"] = LogConfig(frozenset(classes or (LogClass.ALL,)), read_zones(words) or draft.zones)


def _read_errors(directive: Directive, draft: Draft) -> None:
    _none(directive)
    found: list[Consolidation] = []
    for each in directive.body:
        if each.name == "stacktrace":
            continue
        if each.name != "consolidate":
            raise each.wrong(f"errors: unknown property '{each.name}'; known here: consolidate")
        period, pattern, *level = _between(each, 2, 4)
        re.compile(pattern)
        chosen = [word for word in level if word != "show_first"]
        found.append(Consolidation(read_seconds(period), pattern, _level(chosen[0] if chosen else "error")))
    draft.block["consolidations"] = tuple(found)


def _level(word: str) -> str:
    return read_choice(word, ("warning", "error", "info", "debug"))


# -- arguments ---------------------------------------------------------------------------------------------------------


def _none(directive: Directive) -> None:
    _between(directive, 0, 0)


def _one(directive: Directive, default: str | None = None) -> str:
    if default is not None and not directive.arguments:
        return default
    return _between(directive, 1, 1)[0]


def _some(directive: Directive) -> tuple[str, ...]:
    return _between(directive, 1, 1000)


def _between(directive: Directive, low: int, high: int) -> tuple[str, ...]:
    count = len(directive.arguments)
    if not low <= count <= high:
        needed = str(low) if low == high else f"at least {low}" if high >= 1000 else f"{low} to {high}"
        raise directive.wrong(f"{directive.name}: {count} arguments found, {needed} needed")
    return directive.arguments


_DIRECTIVES: Mapping[str, Callable[[Directive, Draft], None]] = {
    "autopath": _read_autopath,
    "bind": _read_bind,
    "bufsize": _read_bufsize,
    "cache": _read_cache,
    "errors": _read_errors,
    "forward": _read_forward,
    "health": _read_health,
    "hosts": _read_hosts,
    "kubernetes": _read_kubernetes,
    "loadbalance": _read_loadbalance,
    "log": _read_log,
    "loop": _read_loop,
    "prometheus": _read_prometheus,
    "ready": _read_ready,
    "reload": _read_reload,
    "rewrite": _read_rewrite,
    "transfer": _read_transfer,
}

DIRECTIVES = tuple(sorted((*_DIRECTIVES, "import")))
"""What a server block may have."""
