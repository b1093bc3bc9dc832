"""`seaway apiserver`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from seaway.cli.flags import (
    data_dir_flag,
    external_ip_flag,
    parse_seconds,
    report_to_stderr,
    service_cidr_flag,
    split_list,
)

GRACE_SECONDS = 60.0
"""For requests at work when it stops: what a request has at most (upstream's too)."""


@click.command("apiserver")
@data_dir_flag
@service_cidr_flag
@external_ip_flag
@click.option("--cluster-domain", default="cluster.local", show_default=True, help="The zone of cluster names.")
@click.option(
    "--secure-port", type=click.IntRange(1, 65535), default=6443, show_default=True, help="Port to listen on."
)
@click.option("--bind-address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--access-log", default="", metavar="FILE", help="One line per request to this file, or - for output.")
@click.option("--audit-log-path", default="", metavar="FILE", help="Audit events as JSON lines to this file, or -.")
@click.option(
    "--audit-policy-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What is audited: a Policy of audit.k8s.io/v1.",
)
@click.option(
    "--audit-level",
    type=click.Choice(["None", "Metadata", "Request", "RequestResponse"]),
    default="Metadata",
    show_default=True,
    help="How much is audited of every request without a policy file.",
)
@click.option(
    "--shutdown-delay-duration",
    "shutdown_delay_seconds",
    default="0s",
    show_default=True,
    callback=lambda _context, _option, text: parse_seconds(text),
    help="How long to go on serving after readiness fails, such as 5s.",
)
@click.option(
    "--token-auth-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help='Tokens that are always good: lines of token,user,uid,"group1,group2".',
)
@click.option(
    "--anonymous-auth",
    type=bool,
    default=True,
    show_default=True,
    help="Answer requests without credentials as those of system:anonymous; false: refuse them.",
)
@click.option(
    "--requestheader-client-ca-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The CA of front proxies, whose X-Remote-User, -Group, -Uid and -Extra- headers are believed.",
)
@click.option(
    "--requestheader-allowed-names",
    default="",
    metavar="TEXT",
    help="Common names that such a proxy's certificate may have: a, or a,b.  [default: any]",
)
@click.option(
    "--service-node-port-range",
    default="30000-32767",
    show_default=True,
    metavar="RANGE",
    help="Where node ports are: FIRST-LAST, FIRST+OFFSET, or one port.",
)
@click.option(
    "--kubernetes-service-node-port",
    type=click.IntRange(0, 65535),
    default=0,
    help="The node port of the Service default/kubernetes.  [default: none]",
)
@click.option(
    "--enable-admission-plugins",
    default="",
    metavar="NAMES",
    help="Plugins of admission that work besides the usual ones: a, or a,b.",
)
@click.option(
    "--disable-admission-plugins", default="", metavar="NAMES", help="Plugins of admission that do not work: a, or a,b."
)
def command(
    data_dir: Path,
    service_cidrs: tuple[str, ...],
    external_ip_cidrs: tuple[str, ...],
    cluster_domain: str,
    secure_port: int,
    bind_address: str,
    token_auth_file: Path | None,
    anonymous_auth: bool,
    requestheader_client_ca_file: Path | None,
    requestheader_allowed_names: str,
    service_node_port_range: str,
    kubernetes_service_node_port: int,
    enable_admission_plugins: str,
    disable_admission_plugins: str,
    **api: Any,
) -> None:
    """Serve the Kubernetes API from the data directory; admin.kubeconfig there is the way in."""
    from seaway.apiserver.admission.plugins import choose_plugins
    from seaway.app.options import ApiOptions, UpOptions, check_node_ports
    from seaway.app.up import run_apiserver_alone
    from seaway.net.errors import OperationalError

    try:
        plugins = choose_plugins(split_list(enable_admission_plugins), split_list(disable_admission_plugins))
        node_ports = check_node_ports(service_node_port_range, kubernetes_service_node_port)
    except OperationalError as error:
        raise click.UsageError(str(error)) from None
    options = UpOptions(
        data_dir=data_dir,
        service_cidrs=service_cidrs,
        external_ip_cidrs=external_ip_cidrs,
        cluster_domain=cluster_domain,
        secure_port=secure_port,
        bind_address=bind_address,
        api=ApiOptions(
            grace_seconds=GRACE_SECONDS,
            admission_plugins=plugins,
            node_port_range=node_ports,
            kubernetes_node_port=kubernetes_service_node_port,
            **api,
        ),
        token_auth_file=token_auth_file,
        anonymous_auth=anonymous_auth,
        requestheader_client_ca_file=requestheader_client_ca_file,
        requestheader_allowed_names=tuple(name for name in requestheader_allowed_names.split(",") if name),
    )
    sys.exit(run_apiserver_alone(options, report_to_stderr))
