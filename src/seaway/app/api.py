"""The API server as a daemon: the store under it, its sockets, and the Service of the cluster's DNS."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.credentials import Credentials, parse_token_file
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.run import ServerConfig, open_server
from seaway.apiserver.serve import Ending, Listener, TlsFiles, UnixListener, serve
from seaway.apiserver.serving.dialing import dial_directly, make_kubelet_context
from seaway.apiserver.serving.forwarding import HttpBackends
from seaway.app.api_logs import audit_to_log, make_connection_limits, open_access_log
from seaway.app.calm import calm_collector
from seaway.app.cluster_dns import ensure_dns_service
from seaway.app.dial import make_dialer
from seaway.app.options import DNS_PORT, dns_ip
from seaway.app.pieces import Ready
from seaway.app.preflight import SANDBOX
from seaway.app.proxy_rights import set_served_at_right
from seaway.client.requests import Client
from seaway.client.transport import InProcessTransport
from seaway.net.errors import OperationalError
from seaway.pki.issuer import TokenIssuer
from seaway.store.sqlite import open_sqlite

if TYPE_CHECKING:
    from seaway.app.plan import Plan

_SELF = Identity("system:apiserver", ("system:authenticated", "system:masters"))


async def run_apiserver(plan: Plan, listeners: Sequence[socket.socket], on_ready: Ready) -> None:
    """Serve until cancelled. listeners: sockets that listen already. Raises OperationalError."""
    options = plan.options
    store = await open_sqlite(plan.data.database)
    config = ServerConfig(
        service_cidrs=options.service_cidrs,
        external_ip_cidrs=options.external_ip_cidrs,
        admission_plugins=options.api.admission_plugins,
        node_port_range=options.api.node_port_range,
        kubernetes_node_port=options.api.kubernetes_node_port,
        cluster_domain=options.cluster_domain,
        advertise_address=plan.node_ip or None,
        secure_port=options.secure_port,
    )
    try:
        server = await open_server(config, store, credentials=make_credentials(plan), backends=make_backends(plan))
        tls = TlsFiles(
            plan.serving.certificate,
            plan.serving.key,
            plan.serving.authority,
            options.requestheader_client_ca_file,
            options.requestheader_allowed_names,
        )
        listen: list[Listener] = [*listeners, UnixListener(plan.data.api_socket)]
        end = Ending(options.api.shutdown_delay_seconds, options.api.grace_seconds)
        with open_access_log(options.api) as access_log, audit_to_log(options.api, server):
            serving = await serve(
                server, tls=tls, listen=listen, limits=make_connection_limits(), access_log=access_log, end=end
            )
            try:
                await _prepare(plan, server)
                calm_collector()
                on_ready()
                await asyncio.get_running_loop().create_future()
            finally:
                await serving.close()
                await server.close()
    finally:
        await store.close()


async def _prepare(plan: Plan, server: ApiServer) -> None:
    """The Service of the cluster's DNS, where there is an address for it, and what the proxy may in this way to run."""
    client = Client(InProcessTransport(server.handle, _SELF))
    await set_served_at_right(client, is_given=plan.loopback is not None)
    if plan.node_ip:
        await ensure_dns_service(
            client,
            cluster_ip=dns_ip(plan.options),
            node_ip=plan.node_ip,
            node_name=plan.node_name,
            port=DNS_PORT,
        )


def make_backends(plan: Plan) -> HttpBackends:
    """The way to Pods and to the node's agent."""
    files = plan.kubelet
    kubelet = make_kubelet_context(
        certificate=files.client_certificate, key=files.client_key, authority=files.authority
    )
    if plan.way == SANDBOX:
        return HttpBackends(make_dialer(plan.data.dial_socket, kubelet))
    return HttpBackends(functools.partial(dial_directly, kubelet=kubelet, locate=plan.locate))


def make_credentials(plan: Plan) -> Credentials:
    """What the server of this plan knows its clients by. Raises OperationalError."""
    options = plan.options
    static = {}
    if options.token_auth_file is not None:
        try:
            text = options.token_auth_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise OperationalError(
                f"token file {options.token_auth_file}: {error}; name another with --token-auth-file"
            ) from error
        static = parse_token_file(text, subject=str(options.token_auth_file))
    return Credentials(
        issuer=TokenIssuer(plan.serving.token_key.read_bytes()),
        static_tokens=static,
        allows_anonymous=options.anonymous_auth,
        root_ca_pem=plan.serving.authority.read_text(),
    )
