"""Signals by the names that images and Pods give them. Rule: spec "node" §2.10 step 3; OCI image-spec, `StopSignal`."""

from __future__ import annotations

import signal


def parse_signal(text: str) -> int | None:
    """`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` or `SIGRTMAX-1` as a number of this host; None for anything else."""
    name = text.strip().upper().removeprefix("SIG")
    if name.isdecimal():
        number = int(name)
    elif name.startswith("RTMIN+") and name[6:].isdecimal():
        number = signal.SIGRTMIN + int(name[6:])
    elif name.startswith("RTMAX-") and name[6:].isdecimal():
        number = signal.SIGRTMAX - int(name[6:])
    else:
        number = next((each for each in signal.Signals if each.name == f"SIG{name}"), 0)
    return int(number) if number in signal.valid_signals() else None
