"""`seaway apiserver`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from seaway.cli.flags import data_dir_flag, external_ip_flag, report_to_stderr


@click.command("apiserver")
@data_dir_flag
@click.option("--service-cidr", default="10.96.0.0/16", show_default=True, help="Addresses of Services.")
@external_ip_flag
@click.option("--cluster-domain", default="cluster.local", show_default=True, help="The zone of cluster names.")
@click.option(
    "--secure-port", type=click.IntRange(1, 65535), default=6443, show_default=True, help="Port to listen on."
)
@click.option("--bind-address", default="127.0.0.1", show_default=True, help="Address to listen on.")
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
def command(
    data_dir: Path,
    service_cidr: str,
    external_ip_cidrs: tuple[str, ...],
    cluster_domain: str,
    secure_port: int,
    bind_address: str,
    token_auth_file: Path | None,
    anonymous_auth: bool,
    requestheader_client_ca_file: Path | None,
    requestheader_allowed_names: str,
) -> None:
    """Serve the Kubernetes API from the data directory; admin.kubeconfig there is the way in."""
    from seaway.app.options import UpOptions
    from seaway.app.up import run_apiserver_alone

    options = UpOptions(
        data_dir=data_dir,
        service_cidr=service_cidr,
        external_ip_cidrs=external_ip_cidrs,
        cluster_domain=cluster_domain,
        secure_port=secure_port,
        bind_address=bind_address,
        token_auth_file=token_auth_file,
        anonymous_auth=anonymous_auth,
        requestheader_client_ca_file=requestheader_client_ca_file,
        requestheader_allowed_names=tuple(name for name in requestheader_allowed_names.split(",") if name),
    )
    sys.exit(run_apiserver_alone(options, report_to_stderr))
