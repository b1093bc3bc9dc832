"""Flags that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from seaway.app.files import default_data_dir

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


def report_to_stderr(line: str) -> None:
    """How a daemon that runs by itself says that it is ready, or why it ends."""
    word, _, text = line.partition(" ")
    click.echo(f"seaway: {text if word == 'fatal' else line}", err=True)
