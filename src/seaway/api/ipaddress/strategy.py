"""How the API server treats IPAddresses. Rule: spec "service-api" §0.1, §5.4."""

from __future__ import annotations

from seaway.api.ipaddress.validation import validate_ip_address, validate_ip_address_update
from seaway.api.machinery.addresses import validate_canonical_ip
from seaway.api.machinery.strategy import Strategy

STRATEGY = Strategy(
    validate_name=validate_canonical_ip,
    validate_create=validate_ip_address,
    validate_update=validate_ip_address_update,
)
