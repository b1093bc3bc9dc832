"""What the directives of a Corefile mean: a row for each, from its words to fields of the configuration.

Directives may come in any order, as CoreDNS has an order of its own. What is not known is an error, never ignored: a
server that leaves out what it was told is worse than one that does not start. Rule: spec "discovery" A1.13
(kubernetes), A3.3 (forward), A3.4 (cache), A4.2 (health, ready, reload), A4.4 (log, errors).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seaway.dns.config import KubernetesOptions
from seaway.dns.forwarding.config import (
    MIN_RELOAD_SECONDS,
    Consolidation,
    LogClass,
    LogConfig,
)
from seaway.dns.records import Name
from seaway.dns.settings.corefile import Directive
from seaway.dns.settings.draft import Draft, count_arguments, no_argument, one_argument, some_arguments
from seaway.dns.settings.foreign import read_cache, read_forward
from seaway.dns.settings.naming import read_autopath, read_hosts, read_rewrite
from seaway.dns.settings.words import (
    Read,
    read_address,
    read_choice,
    read_number,
    read_seconds,
    read_zones,
)

_REPEATABLE = frozenset(("forward", "rewrite"))
_LOG_DEFAULT = "{common}"


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
                server["pods"] = one_argument(each)
            case "ttl":
                server["ttl_seconds"] = _ttl(one_argument(each))
            case "startup_timeout":
                draft.lifecycle["startup_seconds"] = read_seconds(one_argument(each))
            case "namespaces":
                options["namespaces"] = some_arguments(each)
            case "namespace_labels" | "labels":
                options[each.name] = " ".join(some_arguments(each))
            case "noendpoints" | "endpoint_pod_names":
                no_argument(each)
                options["no_endpoints" if each.name == "noendpoints" else each.name] = True
            case "ignore":
                if words != ("empty_service",):
                    raise each.wrong(f"unable to parse ignore value: '{' '.join(words)}'")
                options["ignore_empty_service"] = True
            case "fallthrough":
                options["fallthrough"] = read_zones(words) or ((),)
            case "kubeconfig":
                options["kubeconfig"] = one_argument(each)  # its current context
            case "apiserver_qps" | "apiserver_burst" | "apiserver_max_inflight":
                float(one_argument(each))  # one watch per kind and no other request: there is nothing to limit
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


# -- transfer ----------------------------------------------------------------------------------------------------------


def _read_transfer(directive: Directive, draft: Draft) -> None:
    """Rule: spec "discovery" A1.12, A6 #25: the cluster's zone, and no other."""
    draft.transferred = read_zones(directive.arguments)
    peers: list[str] = []
    for each in directive.body:
        if each.name != "to":
            raise each.wrong(f"unknown property '{each.name}'")
        peers += some_arguments(each)
    if not peers:
        raise directive.wrong("transfer: 'to' needed, with addresses or *")
    draft.server["transfer_to"] = tuple(peers)


# -- the server --------------------------------------------------------------------------------------------------------


def _read_health(directive: Directive, draft: Draft) -> None:
    draft.lifecycle["health"] = read_address(one_argument(directive, ":8080"), port=8080)
    for each in directive.body:
        if each.name != "lameduck":
            raise each.wrong(f"health: unknown property '{each.name}'; known here: lameduck")
        draft.lifecycle["lameduck_seconds"] = read_seconds(one_argument(each))


def _read_ready(directive: Directive, draft: Draft) -> None:
    draft.lifecycle["ready"] = read_address(one_argument(directive, ":8181"), port=8181)
    for each in directive.body:
        if each.name != "monitor":
            raise each.wrong(f"ready: unknown property '{each.name}'; known here: monitor")
        read_choice(
            one_argument(each), ("until-ready", "continuously")
        )  # what is served last stays, so it is the same here


def _read_prometheus(directive: Directive, draft: Draft) -> None:
    draft.lifecycle["metrics"] = read_address(one_argument(directive, "localhost:9153"), port=9153)


def _read_reload(directive: Directive, draft: Draft) -> None:
    words = count_arguments(directive, 0, 2)
    interval = read_seconds(words[0]) if words else 30.0
    jitter = read_seconds(words[1]) if len(words) > 1 else min(15.0, interval / 2)
    if interval < MIN_RELOAD_SECONDS:
        raise ValueError(f"interval value must be greater or equal to {MIN_RELOAD_SECONDS:g}s")
    draft.lifecycle["reload_seconds"] = interval
    draft.lifecycle["reload_jitter_seconds"] = min(jitter, interval / 2)


def _read_loop(directive: Directive, draft: Draft) -> None:
    no_argument(directive)
    draft.lifecycle["detects_loops"] = True


def _read_loadbalance(directive: Directive, draft: Draft) -> None:
    read_choice(one_argument(directive, "round_robin"), ("round_robin",))


def _read_bufsize(directive: Directive, draft: Draft) -> None:
    draft.server["max_udp_bytes"] = read_number(one_argument(directive, "1232"), low=512, high=4096)


def _read_bind(directive: Directive, draft: Draft) -> None:
    draft.bind = tuple(read_address(word, port=0)[0] for word in some_arguments(directive))
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
        for word in some_arguments(each):
            classes.add(LogClass(read_choice(word, [known.value for known in LogClass])))
    draft.block["log"] = LogConfig(frozenset(classes or (LogClass.ALL,)), read_zones(words) or draft.zones)


def _read_errors(directive: Directive, draft: Draft) -> None:
    no_argument(directive)
    found: list[Consolidation] = []
    for each in directive.body:
        if each.name == "stacktrace":
            continue
        if each.name != "consolidate":
            raise each.wrong(f"errors: unknown property '{each.name}'; known here: consolidate")
        period, pattern, *level = count_arguments(each, 2, 4)
        re.compile(pattern)
        chosen = [word for word in level if word != "show_first"]
        found.append(Consolidation(read_seconds(period), pattern, _level(chosen[0] if chosen else "error")))
    draft.block["consolidations"] = tuple(found)


def _level(word: str) -> str:
    return read_choice(word, ("warning", "error", "info", "debug"))


_DIRECTIVES: Mapping[str, Callable[[Directive, Draft], None]] = {
    "autopath": read_autopath,
    "bind": _read_bind,
    "bufsize": _read_bufsize,
    "cache": read_cache,
    "errors": _read_errors,
    "forward": read_forward,
    "health": _read_health,
    "hosts": read_hosts,
    "kubernetes": _read_kubernetes,
    "loadbalance": _read_loadbalance,
    "log": _read_log,
    "loop": _read_loop,
    "prometheus": _read_prometheus,
    "ready": _read_ready,
    "reload": _read_reload,
    "rewrite": read_rewrite,
    "transfer": _read_transfer,
}

DIRECTIVES = tuple(sorted((*_DIRECTIVES, "import")))
"""What a server block may have."""
