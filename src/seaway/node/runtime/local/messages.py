"""What a program left as its last words. Rule: spec "node" §2.13 (termination message), §9 (limits)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_MESSAGE_BYTES = 4096
MAX_LOG_MESSAGE_BYTES, MAX_LOG_MESSAGE_LINES = 2048, 80


def read_message(labels: Mapping[str, Any], exit_code: int) -> str:
    """Of a run that has ended. labels: the agent's, with the paths of its message file and, by policy, of its log."""
    message = _read_tail(labels["message_file"], MAX_MESSAGE_BYTES)
    if message or exit_code == 0 or not labels["message_log"]:
        return message
    lines = _read_tail(labels["message_log"], 4 * MAX_LOG_MESSAGE_BYTES).splitlines()[-MAX_LOG_MESSAGE_LINES:]
    text = "".join(line.split(" ", 3)[-1] + "\n" for line in lines)
    return text[-MAX_LOG_MESSAGE_BYTES:]


def _read_tail(path: str, limit: int) -> str:
    """Not more than that of a file, which the program may have made as large as it likes."""
    try:
        with Path(path).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - limit))
            return file.read(limit).decode(errors="replace")
    except OSError:
        return ""
