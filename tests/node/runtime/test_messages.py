"""Rule: spec "node" §2.13 (termination message), §9."""

from __future__ import annotations

from pathlib import Path

import pytest

from seaway.node.runtime.local.messages import read_message

LOG = "".join(f"2026-01-02T03:04:05Z stdout F line {number}\n" for number in range(200))


@pytest.mark.parametrize(
    ("message", "exit_code", "has_log", "expected"),
    [
        pytest.param("bye", 0, False, "bye", id="what the file has"),
        pytest.param("x" * 5000 + "end", 1, False, "x" * 4093 + "end", id="its last 4096 bytes"),
        pytest.param("", 1, False, "", id="an empty file is no message"),
        pytest.param("", 1, True, "".join(f"line {n}\n" for n in range(120, 200)), id="or the log's last 80 lines"),
        pytest.param("", 0, True, "", id="which a good end does not ask for"),
        pytest.param("bye", 1, True, "bye", id="nor a file that says something"),
    ],
)
def test_last_words(tmp_path: Path, message: str, exit_code: int, has_log: bool, expected: str) -> None:
    (tmp_path / "message").write_text(message)
    (tmp_path / "log").write_text(LOG)
    labels = {"message_file": str(tmp_path / "message"), "message_log": str(tmp_path / "log") if has_log else ""}
    assert read_message(labels, exit_code) == expected


def test_a_log_of_long_lines_is_cut_at_2048_bytes(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("".join(f"2026-01-02T03:04:05Z stderr F {'y' * 500}{n}\n" for n in range(9)))
    labels = {"message_file": str(tmp_path / "none"), "message_log": str(tmp_path / "log")}
    words = read_message(labels, 1)
    assert len(words) == 2048 and words.endswith("8\n")


def test_a_file_of_any_size_costs_only_its_tail(tmp_path: Path) -> None:
    with (tmp_path / "message").open("wb") as file:
        file.truncate(1 << 40)
    assert len(read_message({"message_file": str(tmp_path / "message"), "message_log": ""}, 1)) == 4096
