"""`seaway dns`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seaway.cli.flags import optional_kubeconfig_flag, parse_loopback_map, report_to_stderr, split_list
from seaway.cli.of_dns import query

if TYPE_CHECKING:
    from seaway.dns.run import DnsConfig, Source
    from seaway.net.loopback import LoopbackMap

MAX_DESCRIPTORS = 65_536
MAX_WORKERS = 64
_LISTEN, _UPSTREAMS = "127.0.0.1:10053", "/etc/resolv.conf"


@click.group("dns", invoke_without_command=True)
@optional_kubeconfig_flag
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="A TOML file with all options."
)
@click.option(
    "--corefile", "-conf", type=click.Path(path_type=Path, dir_okay=False), help="A Corefile, as of CoreDNS, instead."
)
@click.option(
    "--listen",
    default="",
    help=f"ADDRESS:PORT, or several with commas.  [default: {_LISTEN}; with a file, what it says, else this host's]",
)
@click.option("--cluster-domain", default="cluster.local", show_default=True, help="The zone of cluster names.")
@click.option("--upstreams", default=_UPSTREAMS, show_default=True, help="Addresses with commas, or a resolv.conf.")
@click.option(
    "--allowed-sources",
    default="",
    help="CIDRs that may ask for names outside of the cluster.  [default: loopback; with a file, everybody]",
)
@click.option(
    "--transfer-to", default="", help="Addresses that may have the zone whole, or * for all.  [default: none]"
)
@click.option("--tls-listen", default="", help="ADDRESS:PORT of DNS over TLS, or several with commas.  [default: none]")
@click.option("--tls-cert-file", default="", help="The certificate of DNS over TLS, PEM.")
@click.option("--tls-private-key-file", default="", help="Its key, PEM.")
@click.option("--nsid", default="", help="The name of this server for those who ask (dig +nsid).  [default: none]")
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    default=1,
    show_default=True,
    help="Processes that share the addresses and one watch.",
)
@click.option(
    "--loopback-map",
    default=None,
    metavar="RANGE=RANGE",
    callback=lambda _context, _option, text: parse_loopback_map(text) if text else None,
    help="Where addresses of the cluster are on loopback: 10.0.0.0/8=127.0.0.0/8.  [default: where they say]",
)
@click.option("--pods", default="insecure", show_default=True, help="Pod names: insecure, verified or disabled.")
@click.pass_context
def command(
    context: click.Context,
    kubeconfig: Path | None,
    config_path: Path | None,
    corefile: Path | None,
    listen: str,
    cluster_domain: str,
    upstreams: str,
    allowed_sources: str,
    transfer_to: str,
    tls_listen: str,
    tls_cert_file: str,
    tls_private_key_file: str,
    nsid: str,
    workers: int,
    loopback_map: LoopbackMap | None,
    pods: str,
) -> None:
    """Answer for the cluster names of an API server, and forward the rest.

    Without a kubeconfig the server is that of the Pod that this runs in. With a file its options take the place of
    flags, and it is read again when it changes, and on SIGHUP or SIGUSR1.
    """
    from seaway.app.calm import calmly
    from seaway.app.pieces import run_with_client
    from seaway.app.plan import find_upstreams
    from seaway.dns.run import DnsConfig, run

    source: Source | None = None
    try:
        extras: dict[str, Any] = {}
        if tls_listen:
            extras |= {"tls_listen": _parse_listen(tls_listen, flag="--tls-listen")}
            extras |= {"tls_certificate": tls_cert_file, "tls_key": tls_private_key_file}
        if nsid:
            extras["nsid"] = nsid
        if loopback_map is not None:
            extras["loopback"] = loopback_map
        path = config_path or corefile
        if path is not None:
            _refuse_flags(context, both=config_path is not None and corefile is not None)
            config, source = _load(path, listen, allowed_sources, {**extras, "workers": workers})
        else:
            is_file = upstreams.startswith("/")
            config = DnsConfig(
                cluster_domain=cluster_domain,
                listen=_parse_listen(listen or _LISTEN),
                upstreams=find_upstreams(Path(upstreams)) if is_file else split_list(upstreams),
                allowed_sources=split_list(allowed_sources),
                transfer_to=split_list(transfer_to),
                workers=workers,
                pods=pods,
                **extras,
            )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    found = kubeconfig or (Path(config.kubernetes.kubeconfig) if config.kubernetes.kubeconfig else None)
    if context.invoked_subcommand is not None:
        context.obj = config, found
        return
    _raise_descriptor_limit()
    if config.workers > 1:
        from seaway.app.dns_workers import run_dns_workers

        sys.exit(run_dns_workers(config, found, source, report_to_stderr))
    sys.exit(
        run_with_client(
            found,
            "dns",
            calmly(lambda client, on_ready: run(config, client, on_ready=on_ready, source=source)),
            report_to_stderr,
        )
    )


command.add_command(query.command)


def _load(path: Path, listen: str, allowed_sources: str, extras: dict[str, Any]) -> tuple[DnsConfig, Source]:
    """The configuration of a file, and how it is loaded again; flags that were given go before the file."""
    from dataclasses import replace

    from seaway.dns.run import Source
    from seaway.dns.settings.run import ConfigFile

    addresses = _parse_listen(listen) if listen else ()
    fixed = extras | ({"listen": addresses} if addresses else {})
    hosts = [host for host, _ in addresses] or _find_hosts()
    file = ConfigFile(path, hosts=hosts, allowed_sources=split_list(allowed_sources))

    def load() -> tuple[DnsConfig, str]:
        config, checksum = file.load()
        return replace(config, **fixed), checksum

    config, checksum = load()
    return config, Source(load, checksum)


def _find_hosts() -> list[str]:
    """Loopback, and this host's address of each family: a wildcard could not tell where a query went."""
    from seaway.app.preflight import find_primary_address
    from seaway.net.family import Family

    return ["127.0.0.1", *filter(None, (find_primary_address(family) for family in Family))]


def _refuse_flags(context: click.Context, *, both: bool) -> None:
    if both:
        raise ValueError("--config and --corefile: both found, one allowed")
    for name in ("cluster_domain", "upstreams", "pods", "transfer_to"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise ValueError(f"--{name.replace('_', '-')}: a file is given, which says this itself")


def _raise_descriptor_limit() -> None:
    """Every query to an upstream has a socket of its own: as many as the system lets us have."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _parse_listen(text: str, *, flag: str = "--listen") -> tuple[tuple[str, int], ...]:
    return tuple(_parse_address(each, flag) for each in split_list(text))


def _parse_address(text: str, flag: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{flag} {text}: ADDRESS:PORT needed, like 127.0.0.1:10053")
    return host.strip("[]"), int(port)
