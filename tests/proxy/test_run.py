"""The parts of the proxy's loop that need no kernel. Rule: spec "proxy" §10.1."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from seaway.net.errors import OperationalError
from seaway.proxy.run import watch_file

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
