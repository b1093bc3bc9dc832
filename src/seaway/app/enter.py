"""Runs a program where Services can be reached: in the sandbox's namespaces, or on the host itself."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from seaway.app import sandbox
from seaway.app.files import DataDir, UpState
from seaway.net import kernel
from seaway.net.errors import OperationalError


def run_inside(data: DataDir, state: UpState, program: Sequence[str]) -> int:
    """Run the program to its end. Returns its exit code (128 + signal, as shells do)."""
    pid = os.fork()
    if pid == 0:
        os._exit(_become(data, state, program))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _become(data: DataDir, state: UpState, program: Sequence[str]) -> int:
    try:
        if state.holder_pid:
            directory = os.getcwd()
            sandbox.enter(state.holder_pid)
            os.chdir(directory)  # entering a mount namespace ends at its root
            inside = os.fork()  # a PID namespace counts for children only
            if inside:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                code = os.waitstatus_to_exitcode(os.waitpid(inside, 0)[1])
                return code if code >= 0 else 128 - code
            kernel.set_parent_death_signal(signal.SIGKILL)
            _use_cluster_dns(data, state)
        os.environ["KUBECONFIG"] = str(data.inside_kubeconfig if state.holder_pid else data.admin_kubeconfig)
        os.execvp(program[0], list(program))
    except FileNotFoundError:
        print(f"seaway: {program[0]}: program not found", file=sys.stderr)
        return 127
    except OSError as error:
        print(f"seaway: shell: {error}; is it your own seaway up?", file=sys.stderr)
        return 1


def _use_cluster_dns(data: DataDir, state: UpState) -> None:
    """A resolv.conf of our own, in a mount namespace of our own. Rule: spec "discovery" C2 (ClusterFirst)."""
    text = (
        f"nameserver {state.dns}\n"
        f"search default.svc.{state.cluster_domain} svc.{state.cluster_domain} {state.cluster_domain}\n"
        "options ndots:5\n"
    )
    path = data.root / "shell-resolv.conf"
    path.write_text(text)
    kernel.unshare(kernel.CLONE_NEWNS)
    try:
        kernel.mount(str(path), "/etc/resolv.conf", "", kernel.MS_BIND)
    except OSError as error:
        raise OperationalError(f"shell: {error}; programs inside keep the host's resolver") from error
