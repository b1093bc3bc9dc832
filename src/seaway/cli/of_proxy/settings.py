"""The flags that say what a proxy does: kube-proxy's, under its names, and ours; and its file."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from seaway.app.files import default_data_dir
from seaway.cli.flags import host_name_default, optional_kubeconfig_flag, parse_loopback_map, split_list
from seaway.net.errors import OperationalError
from seaway.proxy.settings.table import (
    SETTINGS,
    Kind,
    Setting,
    complete_flags,
    decode_settings,
    encode_tree,
    find_ignored,
    replace_port,
)

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger("seaway.proxy")


class _GoArguments(click.Command):
    """Arguments as Go programs take them: `--flag`, `--flag=true` and `--flag=false`; `-v=2`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        bare = {
            opt
            for param in self.params
            if isinstance(param, click.Option) and param.type is click.BOOL and not param.is_flag
            for opt in param.opts
        }
        said = [f"{text}=true" if text in bare else text for text in args]
        return super().parse_args(
            ctx, [f"-{text}" if text == "-v" or text.startswith("-v=") else text for text in said]
        )


class ProxyCommand(_GoArguments):
    """A verb with the flags of a proxy."""


class ProxyGroup(_GoArguments, click.Group):
    """The same, with verbs below."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What flags and file come to. config: of type ProxyConfig. must_do: a sysctl that cannot be set is fatal."""

    values: Mapping[str, Any]
    config: Any
    kubeconfig: Path | None
    server: str


def boolean_flag(name: str, text: str, *, default: bool = False) -> Callable[[F], F]:
    """A flag of ProxyCommand and ProxyGroup that may stand alone, or before `=true` or `=false`."""
    shown = f"{text}  [default: {str(default).lower()}]"
    return click.option(f"--{name}", type=bool, default=default, help=shown)


def proxy_flags(function: F) -> F:
    """Every flag that says what a proxy does; the verb gets `ask`, which reads the file and raises OperationalError."""
    flagged = [setting for setting in SETTINGS if setting.flag]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        said = {setting.path: kwargs.pop(setting.flag.replace("-", "_")) for setting in flagged}
        given = {path: value for path, value in said.items() if value is not None}
        ours = {name: kwargs.pop(name) for name in _OURS}
        for name in _IGNORED:
            kwargs.pop(name)
        return function(*args, ask=lambda: _ask(given, ours), **kwargs)

    for option in reversed((*_OWN_OPTIONS, *map(_make_option, flagged), *_KUBE_OPTIONS)):
        call = option(call)
    return cast(F, call)


def _make_option(setting: Setting) -> Callable[[F], F]:
    text = setting.text or "Accepted."
    if setting.ignored:
        text = f"{text.removesuffix('.')}; {setting.ignored}."
    shown = "" if setting.default in ("", None) else f"  [default: {str(setting.default).lower()}]"
    types = {Kind.NUMBER: int, Kind.FLAG: bool}
    return click.option(
        f"--{setting.flag}",
        type=types.get(setting.kind, str),
        default=None,
        callback=functools.partial(_parse_flag, setting.kind),
        help=text + shown,
    )


def _parse_flag(kind: Kind, _context: click.Context, _option: click.Parameter, text: Any) -> Any:
    """Lists and maps as kube-proxy's flags have them: `a,b` and `A=true,B=false`."""
    if text is None or kind not in (Kind.LIST, Kind.MAP):
        return text
    parts = split_list(text)
    return list(parts) or None if kind is Kind.LIST else dict(part.partition("=")[::2] for part in parts)


_OWN_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    optional_kubeconfig_flag,
    click.option("--master", "server", default="", help="Another API server than that of the kubeconfig."),
    click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="A KubeProxyConfiguration; flags of the same fields are ignored then.",
    ),
    click.option(
        "--hostname-override",
        "--node-name",
        "node_name",
        default="",
        help="This host's Node.  [default: the host name]",
    ),
    click.option("--service-cidr", default="", help="Addresses of Services, besides those of ServiceCIDRs."),
    boolean_flag("masquerade-outgoing", "Hide Pods behind the node when they leave the cluster."),
    boolean_flag("serve-uplinks", "Forward on links to other machines, for the cluster only."),
    click.option(
        "--uplink-state",
        type=click.Path(path_type=Path, dir_okay=False),
        default=lambda: default_data_dir() / "uplinks.json",
        show_default="uplinks.json in the data directory",
        help="Where it is kept which links forward because of --serve-uplinks.",
    ),
    boolean_flag("count-connections", "Count the new connections to each Service, for /metrics.", default=True),
    click.option(
        "--plane",
        type=click.Choice(["nftables", "userspace"]),
        default="nftables",
        show_default=True,
        help="Who serves Services: the kernel's rules, or this process, without any rights.",
    ),
    click.option(
        "--loopback-map",
        default="",
        metavar="RANGE=RANGE",
        callback=lambda _context, _option, text: parse_loopback_map(text) if text else None,
        help="Where addresses of the cluster are on loopback, with --plane userspace: 10.0.0.0/8=127.0.0.0/8.",
    ),
)
_KUBE_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--healthz-port", type=int, help="The port of --healthz-bind-address; 0: nowhere. Deprecated."),
    click.option("--metrics-port", type=int, help="The port of --metrics-bind-address; 0: nowhere. Deprecated."),
    click.option("--v", "verbosity", default="0", help="Accepted, and -v; the log is lines of key=value."),
    *(
        click.option(f"--{name}", default="", help="Accepted; the log is lines of key=value.")
        for name in ("vmodule", "logging-format", "log-flush-frequency")
    ),
)
_OURS = (
    "kubeconfig", "server", "config_file", "node_name", "service_cidr", "masquerade_outgoing", "serve_uplinks",
    "uplink_state", "count_connections", "plane", "loopback_map", "healthz_port", "metrics_port",
)  # fmt: skip
_IGNORED = ("verbosity", "vmodule", "logging_format", "log_flush_frequency")


def _ask(given: Mapping[str, Any], ours: Mapping[str, Any]) -> Asked:
    from seaway.proxy.config import ProxyConfig
    from seaway.proxy.settings.apply import make_proxy_settings, plan_sysctls

    file: Path | None = ours["config_file"]
    values = read_settings(file, given, healthz_port=ours["healthz_port"], metrics_port=ours["metrics_port"])
    kubeconfig: Path | None = ours["kubeconfig"]
    if file is not None and values["clientConnection.kubeconfig"]:
        kubeconfig = Path(values["clientConnection.kubeconfig"])
    config = ProxyConfig(
        **make_proxy_settings(values),
        node_name=(ours["node_name"] or values["hostnameOverride"] or host_name_default()).strip().lower(),
        host_name=host_name_default(),
        service_cidrs=split_list(ours["service_cidr"]),
        masquerade_outgoing=ours["masquerade_outgoing"],
        counts_connections=ours["count_connections"],
        plane=ours["plane"],
        loopback=ours["loopback_map"],
        serves_uplinks=ours["serve_uplinks"],
        uplink_state=ours["uplink_state"],
        sysctls=plan_sysctls(values, os.cpu_count() or 1),
        sysctls_must_do=file is not None or any(path.startswith("conntrack.") for path in given),
        configuration_file=file,
    )
    return Asked(values, config, kubeconfig, ours["server"])


def read_settings(
    file: Path | None, given: Mapping[str, Any], *, healthz_port: int | None = None, metrics_port: int | None = None
) -> dict[str, Any]:
    """The values of the file, or else of the flags. Raises OperationalError."""
    if file is not None:
        try:
            body = file.read_bytes()
        except OSError as error:
            raise OperationalError(f"config {file}: {error.strerror}; give another with --config") from error
        values, warnings = decode_settings(body)
    else:
        values = complete_flags(given)
        warnings = find_ignored(given)
        for path, port in (("healthzBindAddress", healthz_port), ("metricsBindAddress", metrics_port)):
            if port is not None:
                values[path] = replace_port(values[path], port)
    for warning in warnings:
        log.warning("config=%s warning=%r", file or "flags", warning)
    return values


def write_settings(file: Path, values: Mapping[str, Any]) -> None:
    """The configuration as YAML. Raises OperationalError."""
    from seaway.api.machinery.yaml_codec import encode_yaml

    try:
        file.write_bytes(encode_yaml(encode_tree(values)))
    except OSError as error:
        raise OperationalError(f"config {file}: {error.strerror}; write it elsewhere") from error
