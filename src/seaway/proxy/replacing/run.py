"""Looks for stock kube-proxy once our own rules are in place, and takes over if it is told to."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable

from seaway.net.family import Family
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.plane import NftError
from seaway.proxy.replacing.plan import STOCK_TABLE, judge_leftovers, judge_tables

log = logging.getLogger(__name__)


def take_over(kernel: NftKernel, families: Iterable[Family], *, replaces: bool) -> None:
    """Remove stock tables, or say that they are there; say what else is found. Never raises.

    Our rules serve every Service already, so that nothing is missing at any moment.
    """
    try:
        found = [family for family in families if kernel.has_table(family, STOCK_TABLE)]
        if replaces:
            for family in found:
                kernel.delete(family, STOCK_TABLE)
        said = [judge_tables(found, replaces=replaces)]
        links = [name for _, name in socket.if_nameindex()]
        said += judge_leftovers(((_keyword(f), *chain) for f in families for chain in kernel.list_chains(f)), links)
    except (NftError, OSError) as error:
        log.warning("stock_proxy=unknown error=%r", str(error))
        return
    for text in said:
        if text:
            log.warning("stock_proxy=%r", text)


def _keyword(family: Family) -> str:
    return "ip" if family is Family.IPV4 else "ip6"
