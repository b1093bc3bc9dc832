"""`seaway up`: chooses the way, prepares the directory, and supervises the pieces, inside and outside of a sandbox.

Order: hold the directory, check what can be checked, bind what can be bound (each refusal is one line and nothing is
left behind), then fork. The parent never has a loop or a thread: design.md §11 "Processes".
"""

from __future__ import annotations

import importlib
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Callable

from seaway.app import compose, files, preflight, sandbox
from seaway.app.options import (
    DNS_PORT,
    UpOptions,
    check_families,
    check_options,
    dns_ip,
    pod_cidrs,
)
from seaway.app.plan import Plan, make_plan
from seaway.app.preflight import HOST, NONE, SANDBOX
from seaway.app.supervisor import Piece, Supervisor
from seaway.net.errors import OperationalError

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
INNER_PIECES = {NONE: ("dns",), HOST: ("proxy", "dns", "node"), SANDBOX: ("proxy", "dns", "node", "healthcheck")}
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
    bind, port = plan.options.bind_address, plan.options.secure_port
    addresses = [bind]
    if plan.way == HOST and not ipaddress.ip_address(bind).is_unspecified and bind != plan.node_ip:
        addresses.append(plan.node_ip)
    listeners = []
    for address in addresses:
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
        dns=dns_ip(plan.options) if plan.node_ip else f"{plan.dns_address}:{DNS_PORT}",
        node_name=plan.node_name,
        node_ip=",".join(plan.node_ips),
        service_cidr=",".join(plan.options.service_cidrs),
        cluster_cidr=",".join(plan.options.cluster_cidrs),
        cluster_domain=plan.options.cluster_domain,
        pieces=pieces,
        holder_pid=holder.pid if holder else 0,
    )


def _announce(plan: Plan, state: files.UpState, seconds: float, say: Callable[[str], None]) -> None:
    import msgspec

    files.write_state(plan.data, msgspec.structs.replace(state, ready=True, seconds=round(seconds, 3)))
    say(f"api      {state.url}")
    say(f"config   export KUBECONFIG={plan.data.admin_kubeconfig}")
    say(f"dns      {state.dns} (zone {plan.options.cluster_domain})")
    if plan.way == NONE:
        say("traffic  none: no network of its own (API, controllers and DNS only)")
    else:
        pods = ",".join(pod_cidrs(plan.options))
        say(f"traffic  nftables; Services {state.service_cidr}, Pods {pods}, node {state.node_ip}")
    if plan.way == SANDBOX:
        say("enter    seaway shell (Services are reached from inside; nothing gets out)")
    say(f"ready    in {seconds:.2f} s; Ctrl-C ends it")
    if plan.options.ready_file:
        files.write_private(plan.options.ready_file, f"{state.url}\n".encode())


def run_apiserver_alone(options: UpOptions, report: Callable[[str], None]) -> int:
    """The API server by itself, on the data directory that `up` would use. Raises OperationalError."""
    check_options(options)
    data = files.prepare(options.data_dir)
    lock = files.lock(data)
    try:
        plan = make_plan(options, data, preflight.Choice(NONE, "the API server alone"))
        return compose.apiserver_main(plan, bind_listeners(plan))(report)
    finally:
        os.close(lock)
