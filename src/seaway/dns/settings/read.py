"""The text of a configuration file as one DnsConfig.

Corefile or TOML: both are a list of server blocks by then. Reading files and the environment are arguments, so that the
same text always gives the same value. Rule: spec "discovery" A3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seaway.dns.config import DnsConfig, Lifecycle
from seaway.dns.forwarding.config import Block
from seaway.dns.records import Name, render_name
from seaway.dns.settings.corefile import Directive, ReadMatching, ServerBlock, parse_corefile
from seaway.dns.settings.directives import read_directives
from seaway.dns.settings.draft import Draft
from seaway.dns.settings.toml import parse_toml
from seaway.dns.settings.words import Read, SettingsError, read_number, read_zones

STARTUP_SECONDS = 5.0
"""How long sockets wait for the first lists where a file does not say, as CoreDNS does."""
EVERYBODY = ("0.0.0.0/0", "::/0")
"""Whose foreign names are looked up where a file says nothing, as CoreDNS does: a cluster's Pods have many ranges."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a configuration refers to. hosts: addresses to listen on where it does not say."""

    read: Read
    read_matching: ReadMatching
    environment: Mapping[str, str] = field(default_factory=dict)
    hosts: Sequence[str] = ("127.0.0.1",)
    allowed_sources: Sequence[str] = EVERYBODY


def read_settings(text: str, *, file: str, surroundings: Surroundings) -> DnsConfig:
    """The configuration of a file: TOML when its name ends in `.toml`, else a Corefile. Raises SettingsError."""
    if file.endswith(".toml"):
        top, blocks = parse_toml(text, file=file)
    else:
        top = {}
        blocks = parse_corefile(
            text, file=file, environment=surroundings.environment, read_matching=surroundings.read_matching
        )
    if not blocks:
        raise SettingsError("no server block found, at least one needed", file=file, line=1)
    return _make_config(blocks, top, surroundings)


def _make_config(blocks: Sequence[ServerBlock], top: Mapping[str, Any], surroundings: Surroundings) -> DnsConfig:
    server: dict[str, Any] = {}
    lifecycle: dict[str, Any] = {}
    made: list[Block] = []
    bind: tuple[str, ...] = ()
    port, first = 0, blocks[0]
    for block in blocks:
        zones, block_port = _read_keys(block)
        if port and block_port != port:
            raise SettingsError(
                f"port {block_port} found, and {port} before; one port is served", file=block.file, line=block.line
            )
        port = block_port
        draft = read_directives(block.directives, zones, surroundings.read)
        _merge(server, draft.server, block)
        for key, value in draft.lifecycle.items():
            lifecycle.setdefault(key, value)
        bind = bind or draft.bind
        made.extend(_make_blocks(draft, zones, block))
    if "kubernetes" not in server:
        raise SettingsError("no kubernetes directive found, one needed", file=first.file, line=first.line)
    fixed = {"allowed_sources": tuple(surroundings.allowed_sources)} | dict(top)
    fixed.setdefault("listen", tuple((host, port) for host in bind or surroundings.hosts))
    try:
        return DnsConfig(
            blocks=tuple(made),
            lifecycle=Lifecycle(**{"startup_seconds": STARTUP_SECONDS} | lifecycle),
            **fixed,
            **server,
        )
    except ValueError as error:
        raise SettingsError(str(error), file=first.file, line=first.line) from None


def _make_blocks(draft: Draft, zones: Sequence[Name], block: ServerBlock) -> list[Block]:
    try:
        return [draft.make_block(zone) for zone in zones]
    except ValueError as error:
        raise SettingsError(str(error), file=block.file, line=block.line) from None


def _merge(server: dict[str, Any], found: Mapping[str, Any], block: ServerBlock) -> None:
    if "kubernetes" in server and "kubernetes" in found:
        text = "kubernetes: a second cluster zone found, one allowed"
        raise SettingsError(text, file=block.file, line=_line_of(block.directives, "kubernetes"))
    server.update(found)


def _line_of(directives: Sequence[Directive], name: str) -> int:
    return next((each.line for each in directives if each.name == name), 0)


def _read_keys(block: ServerBlock) -> tuple[tuple[Name, ...], int]:
    """The zones of a block's keys and their one port: `[dns://]zone[:port]`, 53 where none is given."""
    zones: list[Name] = []
    ports: set[int] = set()
    for key in block.keys:
        scheme, separator, rest = key.partition("://")
        if separator and scheme != "dns":
            raise SettingsError(f"{key}: {scheme}:// found, dns:// allowed", file=block.file, line=block.line)
        zone, colon, port = (rest if separator else key).rpartition(":")
        if not colon or "/" in port:
            zone, port = rest if separator else key, "53"
        try:
            zones.extend(read_zones((zone or ".",)))
            ports.add(read_number(port, high=65_535))
        except ValueError as error:
            raise SettingsError(f"{key}: {error}", file=block.file, line=block.line) from None
    if len(ports) != 1:
        text = f"{len(ports)} ports found, one port is served"
        raise SettingsError(text, file=block.file, line=block.line)
    if len(set(zones)) != len(zones):
        text = f"{', '.join(map(render_name, zones))}: a zone is there twice"
        raise SettingsError(text, file=block.file, line=block.line)
    return tuple(zones), ports.pop()
