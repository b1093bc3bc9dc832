"""IP families."""

from __future__ import annotations

import enum
import ipaddress


class Family(enum.Enum):
    """An IP family; the value is its name in the Kubernetes API."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"

    @property
    def bits(self) -> int:
        """The length of an address in bits."""
        return 32 if self is Family.IPV4 else 128


def family_of(address: str) -> Family:
    """The family of an address in text form. Raises ValueError when it is not an address."""
    return Family.IPV4 if ipaddress.ip_address(address).version == 4 else Family.IPV6
