"""The directives that give names another meaning: `hosts`, `rewrite`, `autopath`. Rule: spec "discovery" A3.1, A3.6."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from seaway.dns.forwarding.config import (
    QTYPES,
    HostsConfig,
    Match,
    NameRewrite,
    Rewrite,
    TypeRewrite,
)
from seaway.dns.settings.corefile import Directive
from seaway.dns.settings.draft import Draft, no_argument, one_argument, some_arguments
from seaway.dns.settings.words import (
    read_choice,
    read_number,
    read_seconds,
    read_zones,
)


def read_hosts(directive: Directive, draft: Draft) -> None:
    """`hosts [FILE] [ZONES...]`. Raises SettingsError or ValueError."""
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
                options["ttl_seconds"] = read_number(one_argument(each), low=1, high=65_535)
            case "reload":
                options["reload_seconds"] = read_seconds(one_argument(each))
            case "no_reverse":
                no_argument(each)
                options["has_reverse"] = False
            case name if _is_address(name):
                inline.append(" ".join((name, *some_arguments(each))))
            case name:
                raise each.wrong(f"hosts: unknown property '{name}'")
    draft.block["hosts"] = HostsConfig(inline=tuple(inline), **options)


def _is_address(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*", text))


def read_rewrite(directive: Directive, draft: Draft) -> None:
    """`rewrite [continue|stop] FIELD FROM TO...`: one more rule. Raises SettingsError, ValueError or re.error."""
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


def read_autopath(directive: Directive, draft: Draft) -> None:
    """`autopath @kubernetes`. Raises SettingsError."""
    if directive.body or directive.arguments[-1:] != ("@kubernetes",):
        raise directive.wrong("autopath: '@kubernetes' needed as the source of the search list")
    draft.block["finds_paths"] = True
