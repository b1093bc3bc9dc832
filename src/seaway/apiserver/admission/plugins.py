"""What looks at a write after RBAC, by upstream's names, and which of it works on this server.

Seaway's own rule for external IPs (`--external-ip-cidrs`) is no plugin: it holds whatever is chosen here.
Rule: spec "service-api" §3.6, §10; upstream's flags `--enable-admission-plugins` and `--disable-admission-plugins`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from seaway.net.errors import OperationalError


@dataclass(frozen=True, slots=True)
class Plugin:
    """needed_because: why it cannot be turned off; empty: it can."""

    name: str
    is_default: bool = True
    needed_because: str = ""


PLUGINS = (
    Plugin("NamespaceLifecycle", needed_because="objects would be left behind in namespaces that end"),
    Plugin("LimitRanger"),
    Plugin("ServiceAccount"),
    Plugin("NodeRestriction"),
    Plugin("TaintNodesByCondition"),
    Plugin("Priority"),
    Plugin("DefaultIngressClass"),
    Plugin("DenyServiceExternalIPs", is_default=False),
    Plugin("ResourceQuota"),
)
"""In upstream's order. NodeRestriction is on, as every installer of upstream has it."""
DEFAULT_PLUGINS = frozenset(plugin.name for plugin in PLUGINS if plugin.is_default)
_BY_NAME = {plugin.name: plugin for plugin in PLUGINS}


def choose_plugins(enabled: Iterable[str], disabled: Iterable[str]) -> frozenset[str]:
    """The names of those that work: the defaults, with `enabled` and without `disabled`.

    Raises OperationalError for a name that is unknown, in both lists, or of a plugin that is needed.
    """
    on, off = list(enabled), list(disabled)
    for flag, names in (("--enable-admission-plugins", on), ("--disable-admission-plugins", off)):
        if unknown := [name for name in names if name not in _BY_NAME]:
            raise OperationalError(f"{flag} {','.join(unknown)}: no such plugin; known are {', '.join(_BY_NAME)}")
    if both := [name for name in on if name in off]:
        raise OperationalError(
            f"--enable-admission-plugins and --disable-admission-plugins: {','.join(both)} found in both; choose one"
        )
    for name in off:
        if why := _BY_NAME[name].needed_because:
            raise OperationalError(f"--disable-admission-plugins {name}: cannot be turned off: {why}")
    return (DEFAULT_PLUGINS | set(on)) - set(off)
