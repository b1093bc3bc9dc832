"""Resources that a container may read of itself: `resourceFieldRef` of variables and of downward files.

Rule: spec "node" §2.13: in units of the divisor, rounded up; a limit that is not set is what the node has to give.
"""

from __future__ import annotations

from collections.abc import Mapping

from seaway.api.machinery.scalars import ScalarError, measure_quantity
from seaway.node.podspec import Container, ResourceFieldRef

RESOURCES = ("cpu", "memory", "ephemeral-storage")
LARGE_PAGES = "hugepages-"


class QuantityError(Exception):
    """There is no such resource, or it cannot be divided so; the text is for the event."""


def read_resource(ref: ResourceFieldRef, container: Container, allocatable: Mapping[str, str]) -> str:
    """The whole number that the reference stands for. Raises QuantityError."""
    kind, _, resource = ref.resource.partition(".")
    known = resource in RESOURCES or resource.startswith(LARGE_PAGES)
    if kind not in ("limits", "requests") or not known:
        raise QuantityError(f"unsupported container resource : {ref.resource}")
    if kind == "limits":
        amount = container.resources.limits.get(resource) or allocatable.get(resource, "0")
    else:
        amount = container.resources.requests.get(resource, "0")
    try:
        divisor = measure_quantity(ref.divisor) or measure_quantity("1")
        return str(-(-measure_quantity(amount) // divisor))
    except ScalarError as error:
        raise QuantityError(f"{ref.resource}: {error}") from error
