"""The access log, and log files that never hold up the server. Rule: issue 3 part 7; design §12."""

from __future__ import annotations

import logging
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.machinery.http import Identity, Request
from seaway.apiserver.observability.accesslog import format_access, quote
from seaway.apiserver.serving import logfile
from seaway.apiserver.serving.logfile import LogFile
from seaway.testing.builders import make_service
from tests.apiserver.conversation import SERVICES
from tests.apiserver.running import Running, running

MOMENT = datetime(2026, 1, 2, 12, 0, 0, 5000, tzinfo=UTC)


def fields(line: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in line.split(" "))


def test_one_line_per_request_without_query_or_token(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = LogFile(str(path))

    async def conversation(server: Running) -> None:
        async with server.session(token="good") as session:
            async with session.post(f"{server.url}{SERVICES}", json=make_service()) as answer:
                audit_id = answer.headers["Audit-Id"]
                size = len(await answer.read())
            async with session.get(f"{server.url}{SERVICES}?watch=1&labelSelector=sesame") as watch:
                assert watch.status == 200
        async with server.session(token="bad") as session, session.get(f"{server.url}/version") as answer:
            assert answer.status == 401
        await server.until(lambda: not server.server.state.streams)
        log.close()
        post, *others = path.read_text().splitlines()
        found = fields(post)
        assert list(found) == ["time", "audit", "source", "user", "verb", "path", "code", "bytes", "ms"]
        assert (found["audit"], found["user"], found["verb"]) == (audit_id, "robot", "POST")
        assert (found["path"], found["code"], found["bytes"]) == (SERVICES, "201", str(size))
        assert found["source"] == "127.0.0.1" and float(found["ms"]) >= 0
        assert [fields(line)["code"] for line in others if "/version" in line] == ["401"]
        assert [fields(line)["user"] for line in others if "/version" in line] == ["-"]
        assert [fields(line)["code"] for line in others if SERVICES in line] == ["200"], "a watch when it ends"
        text = path.read_text()
        assert "sesame" not in text and "good" not in text and "bad" not in text

    running(tmp_path, conversation, access_log=log)


@given(st.text(), st.text(), st.text())
def test_law_a_line_is_one_line_of_known_keys_whatever_clients_write(user: str, path: str, method: str) -> None:
    request = Request(method, path)
    line = format_access(MOMENT, "id", request, Identity(user), code=200, size=1, ms=1.5).decode("ascii")
    assert line.count("\n") == 1 and line.endswith(" code=200 bytes=1 ms=1.5\n")
    assert line.startswith("time=2026-01-02T12:00:00.005Z audit=id source=- user=")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("system:node:n1", "system:node:n1"),
        ("", "-"),
        ("a b", '"a b"'),
        ("a\nuser=root", '"a\\nuser=root"'),
        ("x=y", '"x=y"'),
        ("ä\x1b[31m", '"\\u00e4\\u001b[31m"'),
        ("x" * 5000, "x" * 1024),
    ],
)
def test_texts_that_could_be_taken_for_something_else_are_quoted(text: str, shown: str) -> None:
    assert quote(text) == shown


def test_a_log_is_private_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    log = LogFile(str(path))
    assert log.write(b"after\n")
    log.close()
    log.close()
    assert path.read_bytes() == b"before\nafter\n"
    assert not log.write(b"too late\n") and log.lost == 1
    fresh = LogFile(str(tmp_path / "fresh"))
    fresh.close()
    assert stat.S_IMODE((tmp_path / "fresh").stat().st_mode) == 0o600


def test_a_log_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LogFile(str(path))
    log._append([b"one\n"])  # type: ignore[arg-type]
    path.rename(tmp_path / "log.1")
    log._append([b"two\n"])  # type: ignore[arg-type]
    log.close()
    assert (tmp_path / "log.1").read_bytes() == b"one\n" and path.read_bytes() == b"two\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_once_and_the_server_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    log = LogFile("/dev/full")
    with caplog.at_level(logging.WARNING, logger="seaway.apiserver"):
        for count in range(5):
            log._append([b"line\n"])  # type: ignore[arg-type]
            assert log.lost == count + 1
        assert [record.getMessage() for record in caplog.records] == [
            "log=/dev/full lost=1 error=No space left on device"
        ]
        os.dup2(os.open(os.devnull, os.O_WRONLY), log._fd)
        log._path = os.devnull
        log._append([b"line\n"])  # type: ignore[arg-type]
        assert "written=again" in caplog.records[-1].getMessage()
    log.close()


def test_a_disk_that_cannot_follow_loses_lines_and_not_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "MAX_PENDING_BYTES", 100)
    log = LogFile(str(tmp_path / "log"))
    with log._condition:  # the thread gets nothing while this is held
        taken = sum(log.write(b"x" * 9 + b"\n") for _ in range(15))
    log.close()
    assert (taken, log.lost) == (10, 5)
    assert (tmp_path / "log").stat().st_size == 100


def test_a_log_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        LogFile(str(tmp_path / "no" / "log"))
