"""The pieces of one `up`, each with its configuration made from the plan. Heavy imports happen in the functions."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from seaway.app import options as addresses
from seaway.app.calm import Start, calmly
from seaway.app.identities import KUBELET_CLIENT
from seaway.app.options import DNS_PORT
from seaway.app.pieces import Ready, Report, run_daemon, run_with_client
from seaway.app.plan import FAMILIES
from seaway.app.preflight import HOST, NONE, SANDBOX
from seaway.app.sandbox import NODE_LINK

if TYPE_CHECKING:
    from seaway.app.plan import Plan
    from seaway.client.requests import Client

Main = Callable[[Report], int]

LEASE_RENEW_SECONDS = 1.0
NODE_GRACE_SECONDS = 3.0
"""A node that says nothing this long counts as dead: design.md §8, the default of `up`."""


def piece_main(name: str, plan: Plan) -> Main:
    """The main function of a piece that is an ordinary API client."""
    start = _STARTS[name](plan)
    kubeconfig = plan.data.piece_kubeconfig(name)
    return lambda report: run_with_client(kubeconfig, name, start, report)


def apiserver_main(plan: Plan, listeners: Sequence[socket.socket]) -> Main:
    """The API server on sockets that are bound already, and on the unix socket."""

    async def run(on_ready: Ready) -> None:
        from seaway.app.api import run_apiserver

        await run_apiserver(plan, listeners, on_ready)

    return lambda report: run_daemon(run, report)


def relay_main(plan: Plan) -> Main:
    """The way out for DNS questions of a sandbox."""

    async def run(on_ready: Ready) -> None:
        from seaway.app.relay import run_relay

        await run_relay(plan.data.relay_socket, plan.upstreams, on_ready=on_ready)

    return lambda report: run_daemon(run, report)


def _controllers(plan: Plan) -> Start:
    from seaway.controllers.run import ControllersConfig
    from seaway.controllers.run import run as run_controllers

    config = ControllersConfig(
        node_grace_seconds=NODE_GRACE_SECONDS,
        ca_pem=plan.serving.authority.read_text(),
        enabled=("*", "-healthcheck") if plan.way == SANDBOX else ("*",),
        loopback=plan.loopback,
    )
    return calmly(lambda client, on_ready: run_controllers(config, client, on_ready=on_ready))


def _healthcheck(plan: Plan) -> Start:
    """One of the control loops, where endpoints are reached: inside of a sandbox."""
    from seaway.controllers.run import ControllersConfig
    from seaway.controllers.run import run as run_controllers

    config = ControllersConfig(node_grace_seconds=NODE_GRACE_SECONDS, ca_pem="", enabled=("healthcheck",))
    return lambda client, on_ready: run_controllers(config, client, on_ready=on_ready)


def _proxy(plan: Plan) -> Start:
    from seaway.proxy.config import ProxyConfig, ServiceRoutes
    from seaway.proxy.run import run as run_proxy

    own = "127.0.0.1" if plan.loopback is None else plan.locate(plan.node_ip)
    config = ProxyConfig(
        node_name=plan.node_name,
        families=FAMILIES[: len(plan.node_ips)],
        cluster_cidrs=plan.options.cluster_cidrs,
        service_cidrs=plan.options.service_cidrs,
        service_routes=ServiceRoutes(NODE_LINK, plan.node_ips) if plan.way == SANDBOX else None,
        masquerade_outgoing=plan.way == HOST,
        healthz_address=(own, 10256),  # on a host nobody outside needs it
        metrics_address=(own, 10249),
        serves_uplinks=plan.way == HOST,
        uplink_state=plan.data.uplink_state if plan.way == HOST else None,
        plane="nftables" if plan.loopback is None else "userspace",
        loopback=plan.loopback,
    )
    return calmly(lambda client, on_ready: run_proxy(config, client, on_ready=on_ready))


def _dns(plan: Plan) -> Start:
    from seaway.dns.run import DnsConfig
    from seaway.dns.run import run as run_dns

    sources = (*plan.options.cluster_cidrs, *plan.options.service_cidrs, plan.dns_address, "127.0.0.0/8")
    config = DnsConfig(
        cluster_domain=plan.options.cluster_domain,
        listen=((plan.dns_address, DNS_PORT),),
        upstreams=(f"unix://{plan.data.relay_socket}",) if plan.way == SANDBOX else plan.upstreams,
        allowed_sources=sources,
        loopback=plan.loopback,
    )
    return calmly(lambda client, on_ready: run_dns(config, client, on_ready=on_ready))


def _node(plan: Plan) -> Start:
    from seaway.node.config import NodeConfig, ServingConfig
    from seaway.node.run import run as run_node

    config = NodeConfig(
        node_name=plan.node_name,
        node_ip=",".join(plan.node_ips),
        pod_cidr=",".join(addresses.pod_cidrs(plan.options)),
        cluster_cidrs=(*plan.options.cluster_cidrs, *plan.options.service_cidrs),
        cluster_domain=plan.options.cluster_domain,
        dns_ip=addresses.dns_ip(plan.options),
        state_dir=plan.data.node_state,
        data_dir=plan.data.root,
        sandbox=plan.way == SANDBOX,
        network="routed" if plan.loopback is None else "none",
        loopback=plan.loopback,
        lease_renew_seconds=LEASE_RENEW_SECONDS,
        lease_duration_seconds=math.ceil(NODE_GRACE_SECONDS),
        serving=ServingConfig(
            certificate=plan.kubelet.certificate,
            key=plan.kubelet.key,
            client_ca=plan.kubelet.authority,
            clients=(KUBELET_CLIENT,),
        ),
    )
    if plan.way == HOST:
        return lambda client, on_ready: run_node(config, client, on_ready=on_ready)
    if plan.way == NONE:

        async def run_and_end(client: Client, on_ready: Ready) -> None:
            """Traffic ends with us, so Pods do too. One that is killed leaves them for the next."""
            from seaway.node.run import end_pods

            try:
                await run_node(config, client, on_ready=on_ready)
            finally:
                await end_pods(config.state_dir)

        return run_and_end

    async def run_both(client: Client, on_ready: Ready) -> None:
        """In a sandbox the API server is outside: the node offers it a way to its Pods."""
        from seaway.app.dial import run_dial_socket

        dialling = asyncio.ensure_future(run_dial_socket(plan.data.dial_socket, client, plan.node_name, plan.node_ip))
        running = asyncio.ensure_future(run_node(config, client, on_ready=on_ready))
        try:
            await asyncio.gather(dialling, running)  # the first to fail ends both, with its own words
        finally:
            for task in (dialling, running):
                task.cancel()
            await asyncio.gather(dialling, running, return_exceptions=True)

    return run_both


_STARTS: dict[str, Callable[[Plan], Start]] = {
    "controllers": _controllers,
    "healthcheck": _healthcheck,
    "proxy": _proxy,
    "dns": _dns,
    "node": _node,
}
