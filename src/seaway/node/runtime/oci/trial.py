"""Whether an OCI runtime works on this host, found out by a container that it builds as it would build any other.

Kernels, user namespaces and cgroups differ, and so do versions of runtimes: the host is not guessed at.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from seaway.node.runtime.contract import ContainerError, RuntimeGone
from seaway.node.runtime.local.client import ShimClient
from seaway.node.runtime.local.rootfs import Binding
from seaway.node.runtime.oci.choose import AUTO, CANDIDATES, NONE, SEARCHED, OciRuntime, OciRuntimeError, find_runtimes
from seaway.node.runtime.oci.config import ContainerPlan, make_config

NEEDED_PROTOCOL = 3
"""Of the shim: an older one, which an upgrade leaves alone with its Pods, knows no OCI runtime."""
TRIAL_SECONDS = 5.0
_CHECK_SECONDS = 0.005
_UID = "trial"
"""In place of a Pod's: an agent that ends during a trial leaves what the next agent removes as an orphan."""
_LABELS = {"uid": _UID, "name": _UID, "attempt": 0, "message_file": "", "message_log": ""}
_BOUND = ("/bin", "/lib", "/lib32", "/lib64", "/usr")
_MAX_VERSION_BYTES = 4096


async def choose_runtime(setting: str, shim: ShimClient, state_dir: Path) -> tuple[OciRuntime | None, str]:
    """The first that works, or None and why. Raises OciRuntimeError when the operator's own choice does not work."""
    if setting == NONE:
        return None, "the setting is none"
    runtimes = await asyncio.to_thread(find_runtimes, setting)
    if not runtimes:
        return None, f"no {' or '.join(CANDIDATES)} in {SEARCHED}"
    if (await shim.ask("list")).get("protocol", 1) < NEEDED_PROTOCOL:
        return None, "the shim is of an older version; it is replaced when its Pods have ended with `seaway down`"
    refusals = []
    for runtime in runtimes:
        refusal = await try_runtime(runtime, shim, state_dir)
        if not refusal:
            return runtime, ""
        refusals.append(f"{runtime.path}: {refusal}")
    if setting != AUTO:
        raise OciRuntimeError(f"OCI runtime {'; '.join(refusals)}; choose `auto` or `none`, or mend it")
    return None, "; ".join(refusals)


async def try_runtime(runtime: OciRuntime, shim: ShimClient, state_dir: Path) -> str:
    """Why it cannot run a container here, or "". Nothing is left of the trial. Raises RuntimeGone."""
    directory, id = state_dir / "trial", secrets.token_hex(32)
    try:
        async with asyncio.timeout(TRIAL_SECONDS):
            directory.mkdir(mode=0o700, exist_ok=True)
            await shim.ask("sandbox", uid=_UID, hostname=_UID, sysctls={}, host_network=False, labels={})
            answer = await shim.ask(
                "start", id=id, uid=_UID, log=str(directory / "log"), labels=_LABELS, spec=make_spec(runtime, directory)
            )
            refusal: str = answer["error"]
            return refusal
    except RuntimeGone:
        raise
    except (ContainerError, OSError) as error:
        return str(error)
    except TimeoutError:
        return f"no container within {TRIAL_SECONDS:g} s"
    finally:
        with contextlib.suppress(TimeoutError):  # what does not end even so, the agent removes as an orphan
            async with asyncio.timeout(TRIAL_SECONDS):
                await _clear(shim, id)
        shutil.rmtree(directory, ignore_errors=True)


async def _clear(shim: ShimClient, id: str) -> None:
    """Kill the container, and forget it when it has ended."""
    await shim.ask("signal", id=id, signal=int(signal.SIGKILL))
    while True:
        try:
            await shim.ask("forget", id=id)
            break
        except RuntimeGone:
            raise
        except ContainerError:
            await asyncio.sleep(_CHECK_SECONDS)
    await shim.ask("drop_sandbox", uid=_UID)


def make_spec(runtime: OciRuntime, directory: Path) -> dict[str, Any]:
    """`true`, on the host's programs and libraries, with all that a container of an image has."""
    bound = tuple(Binding(os.path.realpath(path), path, read_only=True) for path in _BOUND if os.path.isdir(path))
    config = make_config(ContainerPlan(bindings=bound, capabilities=frozenset(("CHOWN",))))
    return {
        "argv": ["true"],
        "environment": {"PATH": SEARCHED},
        "oci": runtime.make_request(config, directory=directory),
    }


def read_version(runtime: OciRuntime) -> str:
    """As the program says it: `1.8.1`, or "" when it does not."""
    try:
        said = subprocess.run(
            [runtime.path, "--version"], capture_output=True, timeout=TRIAL_SECONDS, env={}, check=True
        ).stdout[:_MAX_VERSION_BYTES]
    except (OSError, subprocess.SubprocessError):
        return ""
    return parse_version(said.decode(errors="replace"))


def parse_version(text: str) -> str:
    """From the first line, `NAME version VERSION`."""
    words = text.split("\n", 1)[0].split()
    return words[2] if len(words) == 3 and words[1] == "version" and words[2].isprintable() else ""
