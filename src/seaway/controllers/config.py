"""What the control loops need to know, decided by whoever starts them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from seaway.client.election.lease import ElectionConfig
from seaway.controllers.nodeipam.plan import IpamConfig
from seaway.net.errors import OperationalError
from seaway.net.loopback import LoopbackMap


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllersConfig:
    """What the loops need to know.

    node_grace_seconds: without a heartbeat, before a node is lost; more than twice what its agent renews in. Agents of
    Kubernetes renew every 10 s (upstream's grace is 50), so a cluster with such nodes must not be given less than that.
    ca_pem: what Pods find in `kube-root-ca.crt`. enabled: names of loops, `*` for all, `-NAME` for all but one.
    election: for which lease this process stands; None: it is the only one. metrics_address: where `/metrics` and
    `/healthz` are, port 0 for a free one; None: nowhere. wall_now: the clock of workloads; None: the system's.
    scheduler_name: Pods that name another scheduler are left to it. terminated_pod_threshold: so many Pods that have
    ended are kept, 0 for any number. ipam: the ranges that nodes get theirs from; None: somebody else gives them.
    loopback: where addresses of the cluster are on this host, for whoever dials them; None: where they say.
    """

    node_grace_seconds: float
    ca_pem: str
    enabled: tuple[str, ...] = ("*",)
    election: ElectionConfig | None = None
    metrics_address: tuple[str, int] | None = None
    wall_now: Callable[[], datetime] | None = None
    scheduler_name: str = "default-scheduler"
    terminated_pod_threshold: int = 12_500
    ipam: IpamConfig | None = None
    loopback: LoopbackMap | None = None


def choose_loops(
    enabled: Collection[str], loops: Iterable[str], *, aliases: Mapping[str, str], off_by_default: Collection[str] = ()
) -> tuple[str, ...]:
    """The names of the loops that run, in the order of `loops`.

    enabled: names or aliases, `-NAME` to switch one off, `*` for all that are on by default. Raises OperationalError
    for a name that no loop has. Rule: upstream's `--controllers`: the name itself decides, then the star.
    """
    names = tuple(loops)
    spoken = {*names, *aliases, "*"}
    unknown = sorted({name.removeprefix("-") for name in enabled} - spoken)
    if unknown:
        raise OperationalError(f"--controllers: {', '.join(unknown)} found, {', '.join(names)} or * allowed")
    given = {(name[:1] == "-", aliases.get(bare, bare)) for name in enabled for bare in (name.removeprefix("-"),)}

    def is_on(name: str) -> bool:
        if (False, name) in given:
            return True
        return (False, "*") in given and (True, name) not in given and name not in off_by_default

    return tuple(name for name in names if is_on(name))
