"""The API server as a daemon: the store under it, its sockets, and the Service of the cluster's DNS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from seaway.api.machinery.http import Identity
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.run import ServerConfig, open_server
from seaway.apiserver.serve import Ending, Listener, TlsFiles, TokenVerifier, UnixListener, serve
from seaway.app.api_logs import audit_to_log, make_connection_limits, open_access_log
from seaway.app.cluster_dns import ensure_dns_service
from seaway.app.options import DNS_PORT, dns_ip
from seaway.app.pieces import Ready
from seaway.client.requests import Client
from seaway.client.transport import InProcessTransport
from seaway.pki.tokens import TokenError, derive_public_key, verify_token
from seaway.store.sqlite import open_sqlite

if TYPE_CHECKING:
    from seaway.app.plan import Plan

TOKEN_ISSUER = "https://kubernetes.default.svc"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"
_SELF = Identity("system:apiserver", ("system:authenticated", "system:masters"))


async def run_apiserver(plan: Plan, listeners: Sequence[socket.socket], on_ready: Ready) -> None:
    """Serve until cancelled. listeners: sockets that listen already. Raises OperationalError."""
    options = plan.options
    store = await open_sqlite(plan.data.database)
    config = ServerConfig(
        service_cidrs=(options.service_cidr,),
        external_ip_cidrs=options.external_ip_cidrs,
        cluster_domain=options.cluster_domain,
        advertise_address=plan.node_ip or None,
        secure_port=options.secure_port,
    )
    try:
        server = await open_server(config, store)
        tls = TlsFiles(plan.serving.certificate, plan.serving.key, plan.serving.authority)
        listen: list[Listener] = [*listeners, UnixListener(plan.data.api_socket)]
        tokens = make_token_verifier(plan.serving.token_key.read_bytes())
        end = Ending(options.api.shutdown_delay_seconds, options.api.grace_seconds)
        with open_access_log(options.api) as access_log, audit_to_log(options.api, server):
            serving = await serve(
                server,
                tls=tls,
                listen=listen,
                tokens=tokens,
                limits=make_connection_limits(),
                access_log=access_log,
                end=end,
            )
            try:
                await _prepare(plan, server)
                on_ready()
                await asyncio.get_running_loop().create_future()
            finally:
                await serving.close()
                await server.close()
    finally:
        await store.close()


async def _prepare(plan: Plan, server: ApiServer) -> None:
    """The Service of the cluster's DNS, where there is an address for it."""
    if plan.node_ip:
        client = Client(InProcessTransport(server.handle, _SELF))
        await ensure_dns_service(
            client,
            cluster_ip=dns_ip(plan.options),
            node_ip=plan.node_ip,
            node_name=plan.node_name,
            port=DNS_PORT,
        )


def make_token_verifier(key_pem: bytes) -> TokenVerifier:
    """Who a bearer token of ours stands for. Rule: spec "api-machinery" §10.1."""
    public_key_pem = derive_public_key(key_pem)

    def verify(token: str) -> Identity | None:
        try:
            claims = verify_token(
                public_key_pem, token, issuer=TOKEN_ISSUER, audiences=[TOKEN_ISSUER], wall_now=datetime.now(UTC)
            )
        except TokenError:
            return None
        user = str(claims["sub"])
        groups = tuple(str(group) for group in claims.get("groups", ()))
        if user.startswith(SERVICE_ACCOUNT_PREFIX):
            namespace = user.removeprefix(SERVICE_ACCOUNT_PREFIX).partition(":")[0]
            groups += ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
        return Identity(user, groups)

    return verify
