"""The proxy's core over the real kernel, timed: full syncs, single changes, starts."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator

from bench.dataset import choose_address, choose_cluster_ip, name_service
from seaway.api.endpointslice.types import Endpoint, EndpointPort, EndpointSlice
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.service.types import Service, ServicePort, ServiceSpec
from seaway.app.calm import calm_collector
from seaway.net.family import Family
from seaway.proxy.config import NodeView, ProxyConfig
from seaway.proxy.nftables.diff import Transaction
from seaway.proxy.nftables.kernel import NftKernel
from seaway.proxy.nftables.plane import NftablesPlane
from seaway.proxy.proxier import Proxier

TABLE = "bench"


class TimedKernel(NftKernel):
    """The kernel, with the seconds that its last transaction took, encoding included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def apply(self, family: Family, table: str, transaction: Transaction) -> None:
        begun = time.perf_counter()
        super().apply(family, table, transaction)
        self.seconds = time.perf_counter() - begun


def measure_plane(services: int, endpoints: int, changes: int, has_peer: bool) -> Iterator[dict[str, float]]:
    """First `full`, the seconds from objects to an empty kernel's being in step; then, per change of one endpoint,
    `seconds` in all and `kernel` for encoding and the kernel. has_peer: then `nft`, for the nft program and the same
    ruleset as text; 0 if it fails.
    """
    kernel = TimedKernel()
    proxier = fill_proxier(kernel, services, endpoints)
    begun = time.perf_counter()
    sync(proxier)
    yield {"full": time.perf_counter() - begun}
    for change in range(changes):
        number = change * 997 % services
        name = f"default/{name_service(number)}"
        proxier.set_slice(name, make_slice_reader(number, endpoints, first=f"192.0.2.{1 + change % 250}"))
        begun = time.perf_counter()
        sync(proxier)
        yield {"seconds": time.perf_counter() - begun, "kernel": kernel.seconds}
    text = list_table() if has_peer else ""
    kernel.delete(Family.IPV4, TABLE)
    kernel.close()
    if has_peer:
        begun = time.perf_counter()
        done = subprocess.run(["nft", "-f", "-"], input=text, text=True, check=False)
        yield {"nft": 0.0 if done.returncode else time.perf_counter() - begun}


def list_table() -> str:
    """The table as the nft program prints it, and reads it."""
    return subprocess.run(["nft", "list", "table", "ip", TABLE], capture_output=True, text=True, check=True).stdout


def measure_start(services: int, endpoints: int, served: str, first: str) -> Iterator[dict[str, float]]:
    """The first sync of a new process (`seconds`, of which `cpu`). Then its look at the whole table: `seconds`, and
    `longest`, which a change that comes meanwhile may have to wait.

    served: the address of an endpoint that listens; it has a Service of its own, the one with the highest number.
    first: the address of the first endpoint of Service 0.
    """
    proxier = fill_proxier(NftKernel(), services, endpoints, served)
    proxier.set_slice(f"default/{name_service(0)}", make_slice_reader(0, endpoints, first=first))
    calm_collector()
    begun, cpu = time.perf_counter(), time.process_time()
    sync(proxier)
    yield {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - cpu}
    steps = [time.perf_counter()]
    steps += [time.perf_counter() for _ in proxier.look()]
    steps.append(time.perf_counter())
    yield {
        "seconds": steps[-1] - steps[0],
        "longest": max(after - before for before, after in itertools.pairwise(steps)),
    }


def fill_proxier(kernel: NftKernel, services: int, endpoints: int, served: str = "") -> Proxier:
    """A proxy that has been told of all objects and has written nothing."""
    config = ProxyConfig(
        node_name="bench",
        families=(Family.IPV4,),
        cluster_cidrs=("10.128.0.0/9",),
        service_cidrs=("10.96.0.0/16",),
        table=TABLE,
    )
    proxier = Proxier({Family.IPV4: NftablesPlane(kernel, config, Family.IPV4)}, NodeView("bench"))
    for number in range(services):
        name = f"default/{name_service(number)}"
        proxier.set_service(name, make_reader(number))
        proxier.set_slice(name, make_slice_reader(number, endpoints))
    if served:
        name = f"default/{name_service(services)}"
        proxier.set_service(name, make_reader(services))
        proxier.set_slice(name, make_slice_reader(services, 1, first=served))
    return proxier


def make_reader(number: int) -> Service:
    """The Service as the proxy's informer would hold it."""
    address = choose_cluster_ip(number)
    port = ServicePort(protocol="TCP", port=80, target_port=8080)
    spec = ServiceSpec(cluster_ip=address, cluster_ips=(address,), ip_families=("IPv4",), ports=(port,))
    return Service(ObjectMeta(name=name_service(number), namespace="default"), spec)


def make_slice_reader(number: int, endpoints: int, *, first: str = "") -> EndpointSlice:
    """The Service's slice; `first` replaces the address of its first endpoint."""
    name = name_service(number)
    addresses = [choose_address(number * endpoints + n) for n in range(endpoints)]
    addresses[:1] = [first or addresses[0]]
    labels = {"kubernetes.io/service-name": name}
    return EndpointSlice(
        ObjectMeta(name=name, namespace="default", labels=labels),
        "IPv4",
        tuple(Endpoint((address,)) for address in addresses),
        (EndpointPort("", "TCP", 8080),),
    )


def sync(proxier: Proxier) -> None:
    """Bring the kernel in step. Raises PlaneError."""
    for failure in proxier.sync().failures:
        raise failure
