"""`seaway controllers`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seaway.cli.flags import election_flags, ipam_flags, kubeconfig_flag, parse_address, report_to_stderr

if TYPE_CHECKING:
    from seaway.client.election.lease import ElectionConfig
    from seaway.controllers.nodeipam.plan import IpamConfig


@click.command("controllers")
@kubeconfig_flag
@click.option("--controllers", "enabled", default="*", show_default=True, help="Loops to run: a,b or *,-c.")
@click.option(
    "--node-grace-seconds", type=float, default=50.0, show_default=True, help="A silent node is dead after this."
)
@click.option("--root-ca-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True,
              help="The CA that Pods find in kube-root-ca.crt.")  # fmt: skip
@click.option(
    "--metrics-bind-address",
    default="",
    metavar="ADDRESS:PORT",
    help="Where /metrics, /healthz, /livez and /readyz are, over plain HTTP.  [default: nowhere]",
)
@click.option("--scheduler-name", default="default-scheduler", show_default=True,
              help="Pods that name another scheduler are left to it.")  # fmt: skip
@click.option("--terminated-pod-gc-threshold", type=int, default=12_500, show_default=True,
              help="Pods that have ended and are kept; 0 for any number.")  # fmt: skip
@ipam_flags
@election_flags("seaway-controllers")
def command(
    kubeconfig: Path,
    enabled: str,
    node_grace_seconds: float,
    root_ca_file: Path,
    metrics_bind_address: str,
    scheduler_name: str,
    terminated_pod_gc_threshold: int,
    ipam: IpamConfig | None,
    election: ElectionConfig | None,
) -> None:
    """Run the control loops against the API server of a kubeconfig."""
    from seaway.app.calm import calmly
    from seaway.app.pieces import run_with_client
    from seaway.controllers.config import ControllersConfig
    from seaway.controllers.run import run

    names = tuple(name.strip() for name in enabled.split(","))
    config = ControllersConfig(
        node_grace_seconds=node_grace_seconds,
        ca_pem=root_ca_file.read_text(),
        enabled=names,
        election=election,
        metrics_address=parse_address(metrics_bind_address) if metrics_bind_address else None,
        scheduler_name=scheduler_name,
        terminated_pod_threshold=terminated_pod_gc_threshold,
        ipam=ipam,
    )
    sys.exit(
        run_with_client(
            kubeconfig,
            "controllers",
            calmly(lambda client, on_ready: run(config, client, on_ready=on_ready)),
            report_to_stderr,
        )
    )
