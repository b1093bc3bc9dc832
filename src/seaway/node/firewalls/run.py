"""Watches for firewalls that stand in the way of Pods, and tells: an event of the Node, the log, `seaway status`."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable
from pathlib import Path

from seaway.node.events import Happening
from seaway.node.firewalls import kernel
from seaway.node.firewalls.plan import Block, ForeignTable, find_blocks
from seaway.node.runtime import files
from seaway.node.runtime.contract import ContainerError

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
"""Only the number of the ruleset is asked for; rules are read when it has changed, the old iptables' each time."""
WARNINGS_FILE = "warnings.json"
"""In the state directory: what `seaway status` shows."""


class FirewallWatch:
    """What is in the way now, told once when it comes and once when it has gone."""

    def __init__(self, state_dir: Path, pod_cidrs: str, record: Callable[[Happening], None]) -> None:
        self._file = state_dir / WARNINGS_FILE
        self._ranges = tuple(ipaddress.ip_network(text) for text in pod_cidrs.split(","))
        self._record = record
        self._known: tuple[Block, ...] = ()
        self._tables: tuple[ForeignTable, ...] = ()
        self._legacy_tables: tuple[ForeignTable, ...] = ()
        self._generation = -1
        self._complaint = ""

    async def run(self) -> None:
        """Look until cancelled."""
        self._file.unlink(missing_ok=True)
        while True:
            try:
                found = await asyncio.to_thread(self._look)
            except kernel.FirewallError as error:
                self._complain(error)
            else:
                self._tell(found)
            await asyncio.sleep(CHECK_SECONDS)

    def _look(self) -> tuple[Block, ...]:
        generation = kernel.read_generation()
        if generation != self._generation:
            self._tables = kernel.read_tables()
            self._generation = generation
        try:
            self._legacy_tables = kernel.read_legacy_tables()
        except kernel.FirewallError as error:  # what nftables says is told all the same
            self._complain(error)
        return find_blocks((*self._tables, *self._legacy_tables), self._ranges)

    def _complain(self, error: kernel.FirewallError) -> None:
        if str(error) != self._complaint:
            self._complaint = str(error)
            log.warning("firewalls=unknown error=%r", self._complaint)

    def _tell(self, found: tuple[Block, ...]) -> None:
        if found == self._known:
            return
        for block in found:
            if block not in self._known:
                log.warning("firewall=blocks message=%r", block.message)
                self._record(Happening("Warning", "ForwardingBlocked", block.message))
        if not found:
            log.info("firewall=clear")
            self._record(Happening("Normal", "ForwardingAllowed", "no other firewall of the host drops Pods' packets"))
        self._known = found
        with contextlib.suppress(ContainerError):  # a full disk: the event and the log have said it
            files.save_json(self._file, [block.message for block in found])
