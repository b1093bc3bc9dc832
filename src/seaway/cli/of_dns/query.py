"""`seaway dns query`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seaway.cli.flags import optional_kubeconfig_flag, split_list

if TYPE_CHECKING:
    from seaway.dns.config import DnsConfig
    from seaway.dns.explaining.run import Found
    from seaway.node.resolvconf import Resolver


@click.command("query")
@click.argument("name")
@click.argument("qtype", metavar="[TYPE]", default="")
@optional_kubeconfig_flag
@click.option("--as", "pod", default="", metavar="pod/NAME", help="Ask as this Pod does: by its search list.")
@click.option("--namespace", "-n", default="default", show_default=True, help="Of the Pod.")
@click.option("--dns-ip", default="", help="Where Pods ask.  [default: the cluster IPs of kube-system/kube-dns]")
@click.option(
    "--resolv-conf",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("/etc/resolv.conf"),
    show_default=True,
    help="Of the Pod's node.",
)
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How.")
@click.pass_obj
def command(
    served: tuple[DnsConfig, Path | None],
    name: str,
    qtype: str,
    kubeconfig: Path | None,
    pod: str,
    namespace: str,
    dns_ip: str,
    resolv_conf: Path,
    output: str,
) -> None:
    """Say what a name is answered with, and why: seaway dns query web.default.svc.cluster.local

    Without a kubeconfig the cluster is that of the Pod that this runs in. Nothing is sent to a server of names: the
    answer comes from the objects of now, and from the functions that serve. TYPE is A, and PTR when the name is an
    address. Options of the server (the cluster domain, a Corefile) stand before `query`.
    """
    from seaway.dns.explaining.explain import parse_type
    from seaway.dns.explaining.text import encode_json, render_explanation, render_walk
    from seaway.dns.explaining.walk import explain_text, find_ndots, walk

    config, found_kubeconfig = served
    path = kubeconfig or found_kubeconfig
    try:
        asked, number = parse_type(name, qtype)
        found = asyncio.run(_read(path, config, pod.removeprefix("pod/"), namespace))
        if not pod:
            explanation = explain_text(asked, number, found.index, config.zone)
            click.echo(encode_json(explanation) if output == "json" else render_explanation(explanation))
            return
        resolver = _make_resolver(found, config, split_list(dns_ip), resolv_conf)
        walked = walk(asked, number, resolver.searches, find_ndots(resolver.options), found.index, config.zone)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if output == "json":
        click.echo(encode_json(walked))
        return
    foreign = [address for address in resolver.nameservers if address not in (split_list(dns_ip) or found.dns_ips)]
    click.echo(f"as pod {namespace}/{pod.removeprefix('pod/')}:")
    click.echo(_render_resolver(resolver))
    if foreign or not resolver.nameservers:
        click.echo(f"  it asks {' '.join(foreign) or 'nobody'}, not only the cluster's DNS, which would say:")
    click.echo(render_walk(walked))


async def _read(kubeconfig: Path | None, config: DnsConfig, pod: str, namespace: str) -> Found:
    from seaway.app.pieces import connect, connect_in_cluster
    from seaway.dns.explaining.run import read_cluster

    agent = "seaway-dns-query"
    client = connect(kubeconfig, user_agent=agent) if kubeconfig else connect_in_cluster(user_agent=agent)
    try:
        return await read_cluster(client, config, pod=(namespace, pod) if pod else None)
    finally:
        await client.close()


def _make_resolver(found: Found, config: DnsConfig, dns_ips: tuple[str, ...], resolv_conf: Path) -> Resolver:
    """The Pod's resolver as a node makes it, from its spec and the node's file."""
    import msgspec

    from seaway.node.podspec import PodManifest
    from seaway.node.resolvconf import ResolverError, make_pod_resolver, parse_resolv_conf

    try:
        host = parse_resolv_conf(resolv_conf.read_text())
    except (OSError, ResolverError) as error:
        raise ValueError(f"--resolv-conf {resolv_conf}: {error}") from None
    return make_pod_resolver(
        msgspec.convert(found.pod, PodManifest),
        host,
        cluster_dns=dns_ips or found.dns_ips,
        cluster_domain=config.cluster_domain,
    ).resolver


def _render_resolver(resolver: Resolver) -> str:
    from seaway.node.resolvconf import render_resolv_conf

    return "".join(f"  {line}\n" for line in render_resolv_conf(resolver).splitlines()).rstrip("\n")
