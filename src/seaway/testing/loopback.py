"""A part of loopback for each Seaway that a test or a demo starts, so that many run beside each other.

A part is held by a socket that is bound in it and never listens: it is free again when its holder has gone, however
that ends.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from random import SystemRandom
from types import TracebackType

from seaway.net.loopback import DEFAULT_MAP, LoopbackMap

ORIGIN = ipaddress.IPv4Network("10.96.0.0/14")
"""What a part is for: Services, Pods and Nodes, each a /16 of it."""
SERVICE_CIDR, POD_CIDR, NODE_CIDR = "10.96.0.0/16", "10.97.0.0/16", "10.98.0.0/16"
REAL_POD_CIDR, PLAYED_POD_CIDR = "10.97.0.0/24", "10.97.128.0/17"
NODE_IP, PLAYED_NODE_CIDR = "10.98.0.1", "10.98.128.0/17"
"""Of Pods that run and the node that runs them; of those that a test only speaks of."""
CLAIM_PORT = 20127
"""Below the ports that the kernel chooses for clients."""
_PARTS = range(1, 64)
"""Of 127.0.0.0/8, without the one of the host's own addresses."""


@dataclass(frozen=True, slots=True)
class Claim:
    """`held`: until it is closed; None: the whole of loopback, which nobody shares."""

    map: LoopbackMap
    held: socket.socket | None

    @property
    def pod_cidr(self) -> str:
        return POD_CIDR

    def close(self) -> None:
        """Somebody else may have it."""
        if self.held is not None:
            self.held.close()

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def claim_loopback() -> Claim:
    """A part that nobody else has. Where loopback has one address, it cannot be shared out: ports differ there.

    Raises OSError when all are taken.
    """
    for part in SystemRandom().sample(_PARTS, len(_PARTS)):
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            held.bind((f"127.{part * 4 + 3}.255.254", CLAIM_PORT))
        except OSError as error:
            held.close()
            if error.errno == errno.EADDRNOTAVAIL:
                return Claim(DEFAULT_MAP, None)
            continue
        except BaseException:
            held.close()
            raise
        return Claim(LoopbackMap(ORIGIN, ipaddress.IPv4Network(f"127.{part * 4}.0.0/14")), held)
    raise OSError(errno.EADDRINUSE, "every part of loopback is taken by another Seaway")
