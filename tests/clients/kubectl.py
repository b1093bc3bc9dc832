"""kubectl as tests run it: with a home, a namespace and a kubeconfig of its own."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seaway.testing.fixture import Seaway

PATIENCE_SECONDS = 60
Version = tuple[int, int]


@functools.cache
def find_kubectl() -> str | None:
    """The program: `$SEAWAY_KUBECTL`, or the one in the path."""
    return os.environ.get("SEAWAY_KUBECTL") or shutil.which("kubectl")


@functools.cache
def get_version() -> Version:
    """Of the installed program; (0, 0) when there is none."""
    program = find_kubectl()
    if program is None:
        return (0, 0)
    done = subprocess.run(
        [program, "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=30, check=True
    )
    found = re.match(r"v?(\d+)\.(\d+)", json.loads(done.stdout)["clientVersion"]["gitVersion"])
    assert found is not None
    return int(found[1]), int(found[2])


def get_name() -> str:
    """What the page calls the installed one: every minor version has a section of its own.

    So what one version cannot do is not said of another, and a version that the page does not name makes it not stale.
    """
    major, minor = get_version()
    return f"kubectl {major}.{minor}"


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed, and how it ended."""

    stdout: str
    stderr: str
    code: int

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True)
class Kubectl:
    """`kubectl("get", "svc")` in the namespace of a Seaway."""

    seaway: Seaway
    home: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str = "", code: int | None = 0, **environment: str) -> Done:
        """What it printed. code: how it must end; None for any."""
        done = subprocess.run(
            self.command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment(**environment),
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        text = f"kubectl {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, text
        return Done(done.stdout, done.stderr, done.returncode)

    def command(self, *arguments: str) -> list[str]:
        program = find_kubectl()
        assert program is not None
        return [program, *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        own = {"HOME": str(self.home), "PATH": os.environ["PATH"], "KUBECONFIG": str(self.kubeconfig)}
        return {**own, **more}

    def as_user(self, name: str, *groups: str) -> Kubectl:
        """The same with somebody else's credentials."""
        return Kubectl(self.seaway, self.home, self.seaway.user(name, *groups).kubeconfig)

    def get(self, *arguments: str) -> Any:
        """The object, or the List."""
        return self("get", *arguments, "-o", "json").json
