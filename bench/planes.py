"""The proxy's core over the real kernel, timed: how long a full sync takes, and one changed endpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.dataset import choose_address, choose_cluster_ip, name_service
from seaway.api.endpointslice.types import Endpoint, EndpointPort, EndpointSlice
from seaway.api.machinery.meta import ObjectMeta
from seaway.api.service.types import Service, ServicePort, ServiceSpec
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


def measure_plane(services: int, endpoints: int, changes: int) -> Iterator[dict[str, float]]:
    """First `full`, the seconds from objects to an empty kernel's being in step; then, per change of one endpoint,
    `seconds` in all and `kernel` for encoding and the kernel.
    """
    kernel = TimedKernel()
    config = ProxyConfig(node_name="bench", families=(Family.IPV4,), service_cidrs=("10.96.0.0/16",), table=TABLE)
    proxier = Proxier({Family.IPV4: NftablesPlane(kernel, config, Family.IPV4)}, NodeView("bench"))
    for number in range(services):
        name = f"default/{name_service(number)}"
        proxier.set_service(name, make_reader(number))
        proxier.set_slice(name, make_slice_reader(number, endpoints))
    begun = time.perf_counter()
    _sync(proxier)
    yield {"full": time.perf_counter() - begun}
    for change in range(changes):
        number = change * 997 % services
        name = f"default/{name_service(number)}"
        proxier.set_slice(name, make_slice_reader(number, endpoints, first=f"192.0.2.{1 + change % 250}"))
        begun = time.perf_counter()
        _sync(proxier)
        yield {"seconds": time.perf_counter() - begun, "kernel": kernel.seconds}
    kernel.delete(Family.IPV4, TABLE)
    kernel.close()


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


def _sync(proxier: Proxier) -> None:
    for failure in proxier.sync().failures:
        raise failure
