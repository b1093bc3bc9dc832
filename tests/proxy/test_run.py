"""The parts of the proxy's loop that need no kernel. Rule: spec "proxy" §10.1."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from seaway.net.errors import OperationalError
from seaway.net.family import Family
from seaway.proxy.config import NodeView, ProxyConfig
from seaway.proxy.run import check_families, watch_file

TEXT = "content of the proxy server's configuration file was updated"


class StillWatching(Exception):
    """Every change was made, and seen."""


def watch(file: Path, *changes: bytes | None) -> str | None:
    """What the watcher ends with, when the file is changed so between its looks; None: it still watches."""
    left = list(changes)

    async def pause() -> None:
        if not left:
            raise StillWatching
        content = left.pop(0)
        if content is None:
            file.unlink()
        else:
            beside = file.with_suffix(".new")
            beside.write_bytes(content)
            beside.replace(file)  # as a ConfigMap's volume does

    try:
        asyncio.run(watch_file(file, pause=pause))
    except StillWatching:
        return None
    except OperationalError as error:
        return str(error)
    raise AssertionError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.conf"
    path.write_bytes(b"mode: nftables")
    return path


def test_another_content_ends_the_proxy_for_its_supervisor_to_start_it_anew(file: Path) -> None:
    assert watch(file, b"mode: iptables") == TEXT


def test_the_same_content_in_a_new_file_is_no_change(file: Path) -> None:
    assert watch(file, b"mode: nftables") is None


def test_a_file_that_is_gone_is_waited_for(file: Path) -> None:
    assert watch(file, None) is None
    file.write_bytes(b"mode: nftables")
    assert watch(file, None, b"mode: nftables") is None
    assert watch(file, None, b"mode: iptables") == TEXT


def test_ranges_of_the_wrong_family_end_a_start_or_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Rule: spec "proxy" §11.1, step 10."""
    config, node = ProxyConfig(node_name="N", cluster_cidrs=("fd10::/64",)), NodeView("N", "", ("192.0.2.1",))
    told = "cluster is IPv4-primary but clusterCIDRs contains only IPv6 addresses"
    check_families(config, node, (Family.IPV4, Family.IPV6))
    assert told in caplog.text
    with pytest.raises(OperationalError, match=r"kube-proxy configuration is incorrect: cluster is IPv4-only but"):
        check_families(config, node, (Family.IPV4,))
