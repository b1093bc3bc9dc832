"""The flags of KubeProxyConfiguration, and its file."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from seaway.net.errors import OperationalError
from seaway.proxy.settings.table import SETTINGS, Kind, decode_settings, default_values, encode_tree

F = TypeVar("F", bound=Callable[..., Any])
_TYPES = {Kind.NUMBER: int, Kind.FLAG: bool}

log = logging.getLogger("seaway.proxy")


def settings_flags(function: F) -> F:
    """A flag for each field that has one under upstream's names; the verb gets `given`: what was said, by path."""
    flagged = [setting for setting in SETTINGS if setting.flag]

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        said = {setting.path: kwargs.pop(setting.flag.replace("-", "_")) for setting in flagged}
        return function(*args, given={path: value for path, value in said.items() if value is not None}, **kwargs)

    for setting in reversed(flagged):
        shown = "" if setting.default in ("", None) else f"  [default: {str(setting.default).lower()}]"
        as_flag: dict[str, Any] = {"is_flag": False, "flag_value": "true"} if setting.kind is Kind.FLAG else {}
        option = click.option(
            f"--{setting.flag}", type=_TYPES.get(setting.kind, str), default=None, help=setting.text + shown, **as_flag
        )
        call = option(call)
    return cast(F, call)


def read_settings(file: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """The values of the file, or else of the flags. Raises OperationalError."""
    if file is None:
        return default_values() | given
    try:
        body = file.read_bytes()
    except OSError as error:
        raise OperationalError(f"config {file}: {error.strerror}; give another with --config") from error
    values, warnings = decode_settings(body)
    for warning in warnings:
        log.warning("config=%s warning=%r", file, warning)
    return values


def write_settings(file: Path, values: dict[str, Any]) -> None:
    """The configuration as YAML. Raises OperationalError."""
    from seaway.api.machinery.yaml_codec import encode_yaml

    try:
        file.write_bytes(encode_yaml(encode_tree(values)))
    except OSError as error:
        raise OperationalError(f"config {file}: {error.strerror}; write it elsewhere") from error
