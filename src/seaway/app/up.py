"""`seaway up`: chooses the way, prepares the directory, and supervises the pieces, inside and outside of a sandbox.

Order: hold the directory, check what can be checked, bind what can be bound (each refusal is one line and nothing is
left behind), then fork. The parent never has a loop or a thread: design.md §11 "Processes".
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
import time
from collections.abc import Callable

from seaway.app import compose, files, preflight, sandbox
from seaway.app.options import UpOptions, check_families, check_options, pod_cidrs
from seaway.app.plan import Plan, make_plan
from seaway.app.preflight import ALONE, HOST, NONE, SANDBOX
from seaway.app.supervisor import Piece, Supervisor
from seaway.net.errors import OperationalError
from seaway.net.loopback import LoopbackMap

# What the pieces share, imported once before they are forked.
PRELOADED = (
    "aiohttp",
    "uvloop",
    "seaway.apiserver.run",
    "seaway.apiserver.serve",
    "seaway.controllers.run",
    "seaway.dns.run",
    "seaway.node.run",
    "seaway.proxy.run",
    "seaway.store.sqlite",
)
INNER_PIECES = {
    NONE: ("proxy", "dns", "node"),
    HOST: ("proxy", "dns", "node"),
    SANDBOX: ("proxy", "dns", "node", "healthcheck"),
}
"""By way. In a sandbox health checks are made inside, where endpoints are; else the control loops make them."""


def run_up(options: UpOptions, *, say: Callable[[str], None]) -> int:
    """Until a signal. Returns the exit code; raises OperationalError when it cannot start."""
    begun = time.monotonic()
    check_options(options)
    check_families(options)
    data = files.prepare(options.data_dir)
    lock = files.lock(data)
    trials = preflight.begin_trials(options.network)
    for module in PRELOADED:
        importlib.import_module(module)
    choice = preflight.choose_way(options.network, trials)
    say(f"way      {choice.way} ({choice.reason})")
    plan = make_plan(options, data, choice)
    listeners = bind_listeners(plan)
    files.note_way(data, choice.way)
    if options.ready_file:
        options.ready_file.unlink(missing_ok=True)  # of an `up` that was killed
    try:
        fatal = _supervise(plan, listeners, say, begun)
    finally:
        data.state_file.unlink(missing_ok=True)
        data.api_socket.unlink(missing_ok=True)
        if options.ready_file:
            options.ready_file.unlink(missing_ok=True)
        os.close(lock)
    if fatal:
        raise OperationalError(fatal)
    return 0


def bind_listeners(plan: Plan) -> list[socket.socket]:
    """The API server's sockets on this host, bound before anything runs. Raises OperationalError for a taken port."""
    port = plan.options.secure_port
    listeners = []
    for address in plan.api_addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            listeners.append(socket.create_server((address, port), family=family, backlog=512))
        except OSError as error:
            raise OperationalError(
                f"API server {address}:{port}: {os.strerror(error.errno or 0)}; stop what listens there or choose "
                "--secure-port and --bind-address"
            ) from error
    return listeners


def _supervise(plan: Plan, listeners: list[socket.socket], say: Callable[[str], None], begun: float) -> str:
    inner = [Piece(name, compose.piece_main(name, plan)) for name in INNER_PIECES[plan.way]]
    outer = Supervisor((), plan.data.logs)
    holder = None
    if plan.way == SANDBOX:
        holder = sandbox.start_holder(
            sandbox.Inside(plan.node_ips, plan.options.secure_port),
            lambda lifeline: _run_inner(plan, inner, outer.report_fd, lifeline),
        )
        listeners.append(holder.listener)
        outer.lifeline, outer.lifeline_words = holder.lifeline, "sandbox: its first process ended"
        outer.expected = INNER_PIECES[SANDBOX]
    outside = [Piece("apiserver", compose.apiserver_main(plan, listeners))]
    outside.append(Piece("controllers", compose.piece_main("controllers", plan)))
    if plan.way == SANDBOX:
        outside.append(Piece("relay", compose.relay_main(plan)))
    else:
        outside += inner
    outer.pieces = outside
    state = _make_state(plan, tuple(p.name for p in (*outside, *(inner if holder else ()))), holder)
    files.write_state(plan.data, state)

    def on_ready() -> None:
        _announce(plan, state, time.monotonic() - begun, say)

    outer.on_ready = on_ready
    outer.on_death = lambda name, how: print(f"seaway: {name}: {how}", file=sys.stderr, flush=True)
    if holder is not None:
        outer.on_stop = lambda: sandbox.end_holder(holder)
    return outer.run()


def _run_inner(plan: Plan, pieces: list[Piece], report_fd: int, lifeline: socket.socket) -> None:
    def forward(line: str) -> None:
        os.write(report_fd, line.encode() + b"\n")

    supervisor = Supervisor(
        pieces, plan.data.logs, forward=forward, lifeline=lifeline, stop_seconds=sandbox.INNER_STOP_SECONDS
    )
    supervisor.on_death = lambda name, how: print(f"seaway: {name}: {how}", file=sys.stderr, flush=True)
    supervisor.run()


def _make_state(plan: Plan, pieces: tuple[str, ...], holder: sandbox.Holder | None) -> files.UpState:
    return files.UpState(
        pid=os.getpid(),
        way=plan.way,
        reason=plan.choice.reason,
        url=plan.url,
        dns=plan.dns_place,
        node_name=plan.node_name,
        node_ip=",".join(plan.node_ips),
        service_cidr=",".join(plan.options.service_cidrs),
        cluster_cidr=",".join(plan.options.cluster_cidrs),
        cluster_domain=plan.options.cluster_domain,
        pieces=pieces,
        holder_pid=holder.pid if holder else 0,
        loopback_map=str(plan.loopback or ""),
    )


def _announce(plan: Plan, state: files.UpState, seconds: float, say: Callable[[str], None]) -> None:
    import msgspec

    files.write_state(plan.data, msgspec.structs.replace(state, ready=True, seconds=round(seconds, 3)))
    say(f"api      {state.url}")
    say(f"config   export KUBECONFIG={plan.data.admin_kubeconfig}")
    say(f"dns      {state.dns} (zone {plan.options.cluster_domain})")
    plane = "nftables" if plan.loopback is None else f"userspace; {describe_map(plan.loopback)}"
    pods = ",".join(pod_cidrs(plan.options))
    say(f"traffic  {plane}; Services {state.service_cidr}, Pods {pods}, node {state.node_ip}")
    if plan.way == SANDBOX:
        say("enter    seaway shell (Services are reached from inside; nothing gets out)")
    say(f"ready    in {seconds:.2f} s; Ctrl-C ends it")
    if plan.options.ready_file:
        files.write_private(plan.options.ready_file, f"{state.url}\n".encode())


def describe_map(loopback: LoopbackMap) -> str:
    """`10.a.b.c is served as 127.a.b.c`, or with the ranges where they are not whole octets."""
    size = loopback.origin.prefixlen
    if size % 8 or size == 32:
        return f"{loopback.origin} is served as {loopback.onto}"
    rest = ("a", "b", "c", "d")[: 4 - size // 8]
    origin, onto = (
        str(network.network_address).split(".")[: size // 8] for network in (loopback.origin, loopback.onto)
    )
    return f"{'.'.join((*origin, *rest))} is served as {'.'.join((*onto, *rest))}"


def run_apiserver_alone(options: UpOptions, report: Callable[[str], None]) -> int:
    """The API server by itself, on the data directory that `up` would use. Raises OperationalError."""
    check_options(options)
    data = files.prepare(options.data_dir)
    lock = files.lock(data)
    try:
        plan = make_plan(options, data, preflight.Choice(ALONE, "the API server by itself"))
        return compose.apiserver_main(plan, bind_listeners(plan))(report)
    finally:
        os.close(lock)
