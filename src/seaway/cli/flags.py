"""Flags that several verbs share."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from seaway.app.files import default_data_dir

if TYPE_CHECKING:
    from seaway.net.loopback import LoopbackMap

F = TypeVar("F", bound=Callable[..., Any])


def data_dir_flag(function: F) -> F:
    """`--data-dir`: everything of one Seaway."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=default_data_dir,
        show_default="/var/lib/seaway for root, $XDG_STATE_HOME/seaway else",
        envvar="SEAWAY_DATA_DIR",
        help="Where everything of this Seaway lives.",
    )(function)


def range_flag(name: str, parameter: str, default: str, help: str) -> Callable[[F], F]:
    """A flag that takes one range, or one of each family."""
    return click.option(
        name,
        parameter,
        default=default,
        show_default=True,
        callback=lambda _context, _option, text: split_list(text),
        help=f"{help}; with a comma and an IPv6 range, of both families.",
    )


def service_cidr_flag(function: F) -> F:
    """`--service-cidr`."""
    return range_flag("--service-cidr", "service_cidrs", "10.96.0.0/16", "Addresses of Services")(function)


def pod_network_flag(function: F) -> F:
    """`--network` of a node agent: what Pods have."""
    return click.option(
        "--network",
        type=click.Choice(("routed", "none")),
        default="routed",
        show_default=True,
        help="Pods have a network each, or are plain processes on loopback.",
    )(function)


def loopback_map_flag(function: F) -> F:
    """`--loopback-map`: a `LoopbackMap`."""
    return click.option(
        "--loopback-map",
        default="10.0.0.0/8=127.0.0.0/8",
        show_default=True,
        metavar="RANGE=RANGE",
        callback=lambda _context, _option, text: parse_loopback_map(text),
        help="Where addresses of the cluster are on loopback, with --network none.",
    )(function)


def external_ip_flag(function: F) -> F:
    """`--external-ip-cidrs`: what Services may take of the addresses outside."""
    return click.option(
        "--external-ip-cidrs",
        default="",
        callback=lambda _context, _option, text: split_list(text),
        help="Where Services may have external IPs: a, or a,b.  [default: nowhere]",
    )(function)


def kubeconfig_flag(function: F) -> F:
    """`--kubeconfig`: which API server, and as whom."""
    return _kubeconfig_option(required=True)(function)


def optional_kubeconfig_flag(function: F) -> F:
    """The same for a verb that has something to do without one."""
    return _kubeconfig_option(required=False)(function)


def _kubeconfig_option(*, required: bool) -> Callable[[F], F]:
    return click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        required=required,
        envvar="KUBECONFIG",
        help="Kubeconfig of the API server.",
    )


def election_flags(lease: str) -> Callable[[F], F]:
    """The `--leader-elect` flags under upstream's names; the verb gets an `election`, None for none.

    lease: the default of the Lease's name.
    """

    def decorate(function: F) -> F:
        @functools.wraps(function)
        def call(
            *args: Any,
            leader_elect: bool,
            leader_elect_lease_duration: float,
            leader_elect_renew_deadline: float,
            leader_elect_retry_period: float,
            leader_elect_resource_name: str,
            leader_elect_resource_namespace: str,
            **kwargs: Any,
        ) -> Any:
            from uuid import uuid4

            from seaway.client.election.lease import ElectionConfig
            from seaway.net.errors import OperationalError

            if not leader_elect:
                return function(*args, election=None, **kwargs)
            try:
                election = ElectionConfig(
                    identity=f"{host_name_default()}_{uuid4()}",
                    name=leader_elect_resource_name,
                    namespace=leader_elect_resource_namespace,
                    lease_seconds=math.ceil(leader_elect_lease_duration),
                    renew_seconds=leader_elect_renew_deadline,
                    retry_seconds=leader_elect_retry_period,
                )
            except OperationalError as error:
                raise click.UsageError(str(error)) from None
            return function(*args, election=election, **kwargs)

        for option in reversed(_election_options(lease)):
            call = option(call)
        return cast(F, call)

    return decorate


def ipam_flags(function: F) -> F:
    """The flags of node ranges under upstream's names; the verb gets an `ipam`, None when nodes are given none."""

    @functools.wraps(function)
    def call(
        *args: Any,
        allocate_node_cidrs: bool,
        cluster_cidr: str,
        node_cidr_mask_size: int | None,
        node_cidr_mask_size_ipv4: int | None,
        node_cidr_mask_size_ipv6: int | None,
        service_cluster_ip_range: str,
        **kwargs: Any,
    ) -> Any:
        from seaway.controllers.nodeipam.plan import parse_ipam
        from seaway.net.errors import OperationalError

        if not allocate_node_cidrs:
            return function(*args, ipam=None, **kwargs)
        try:
            ipam = parse_ipam(
                cluster_cidr,
                mask_size=node_cidr_mask_size,
                ipv4_mask=node_cidr_mask_size_ipv4,
                ipv6_mask=node_cidr_mask_size_ipv6,
                service_ranges=service_cluster_ip_range,
            )
        except OperationalError as error:
            raise click.UsageError(str(error)) from None
        return function(*args, ipam=ipam, **kwargs)

    for option in reversed(_IPAM_OPTIONS):
        call = option(call)
    return cast(F, call)


_IPAM_OPTIONS: list[Callable[[Any], Any]] = [
    click.option("--allocate-node-cidrs/--no-allocate-node-cidrs", default=False, help="Give each node Pod addresses."),
    click.option("--cluster-cidr", default="", metavar="CIDR[,CIDR]", help="What nodes get theirs from."),
    click.option("--node-cidr-mask-size", type=int, help="Of a node's range.  [default: 24, and 64 for IPv6]"),
    click.option("--node-cidr-mask-size-ipv4", type=int, help="The same where there are two families."),
    click.option("--node-cidr-mask-size-ipv6", type=int, help="The same where there are two families."),
    click.option(
        "--service-cluster-ip-range", default="", metavar="CIDR[,CIDR]", help="What no node gets, where it overlaps."
    ),
]


def _election_options(lease: str) -> list[Callable[[Any], Any]]:
    def duration(flag: str, default: str, text: str) -> Callable[[Any], Any]:
        return click.option(
            flag,
            default=default,
            show_default=True,
            callback=lambda _context, _option, given: parse_seconds(given),
            help=text,
        )

    return [
        click.option(
            "--leader-elect",
            type=bool,
            default=True,
            show_default=True,
            help="Work only while holding a Lease, so that several may run; false: this is the only one.",
        ),
        duration("--leader-elect-lease-duration", "15s", "Others take over when the Lease was not renewed this long."),
        duration("--leader-elect-renew-deadline", "10s", "A leader that could not renew this long stops."),
        duration("--leader-elect-retry-period", "2s", "Between two tries to take or renew the Lease."),
        click.option("--leader-elect-resource-name", default=lease, show_default=True, help="The name of the Lease."),
        click.option(
            "--leader-elect-resource-namespace", default="kube-system", show_default=True, help="Where the Lease is."
        ),
    ]


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:10257`, `[::1]:10257` or `:10257` (all addresses). Raises BadParameter."""
    host, _, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535 or (":" in host and host[:1] + host[-1:] != "[]"):
        raise click.BadParameter(f"{text} found, an address and a port such as 127.0.0.1:10257 allowed")
    return host.strip("[]") or "::", int(port)


def host_name_default() -> str:
    """The host's name as a node name."""
    from seaway.app.files import host_name

    return host_name()


def split_list(text: str) -> tuple[str, ...]:
    """The parts between commas, without blanks and empty ones."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_seconds(text: str) -> float:
    """The seconds of a duration such as `5s` or `1m30s`. Raises BadParameter."""
    from seaway.api.machinery.duration import DurationError, parse_duration

    try:
        seconds = parse_duration(text)
    except DurationError as error:
        raise click.BadParameter(f"{error}; give one like 5s") from None
    if seconds < 0:
        raise click.BadParameter(f"{text}: negative; give one like 5s")
    return seconds


def parse_loopback_map(text: str) -> LoopbackMap:
    """The map of `10.0.0.0/8=127.0.0.0/8`. Raises BadParameter."""
    from seaway.net.loopback import LoopbackMap

    try:
        return LoopbackMap.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def report_to_stderr(line: str) -> None:
    """How a daemon that runs by itself says that it is ready, or why it ends."""
    word, _, text = line.partition(" ")
    click.echo(f"seaway: {text if word == 'fatal' else line}", err=True)
