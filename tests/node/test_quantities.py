"""Rule: spec "node" §2.13 (resourceFieldRef)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.api.pod.scheduling import ResourceRequirements
from seaway.node.podspec import Container, ResourceFieldRef
from seaway.node.quantities import QuantityError, read_resource

LIMITED = Container(
    name="main",
    resources=ResourceRequirements(
        limits={"cpu": "1500m", "memory": "100Mi", "hugepages-2Mi": "4Mi"}, requests={"cpu": "250m", "memory": "1"}
    ),
)
NODE = {"cpu": "4", "memory": "2048Ki", "ephemeral-storage": "10Gi"}
CASES = [
    pytest.param(LIMITED, "limits.cpu", "0", "2", id="without a divisor in whole units, rounded up"),
    pytest.param(LIMITED, "limits.cpu", "1", "2", id="a divisor of one is the same"),
    pytest.param(LIMITED, "limits.cpu", "1m", "1500", id="thousandths"),
    pytest.param(LIMITED, "requests.cpu", "100m", "3", id="rounded up"),
    pytest.param(LIMITED, "limits.memory", "1Mi", "100", id="binary units"),
    pytest.param(LIMITED, "limits.memory", "1M", "105", id="decimal units, rounded up"),
    pytest.param(LIMITED, "limits.hugepages-2Mi", "0", "4194304", id="large pages"),
    pytest.param(LIMITED, "limits.ephemeral-storage", "1Gi", "10", id="no limit is what the node has"),
    pytest.param(Container(), "limits.cpu", "0", "4", id="no limit of CPU"),
    pytest.param(Container(), "limits.memory", "1Ki", "2048", id="no limit of memory"),
    pytest.param(Container(), "requests.cpu", "0", "0", id="no request is none"),
]


@pytest.mark.parametrize(("container", "resource", "divisor", "expected"), CASES)
def test_resources(container: Container, resource: str, divisor: str, expected: str) -> None:
    assert read_resource(ResourceFieldRef(resource=resource, divisor=divisor), container, NODE) == expected


@given(st.integers(0, 10**6), st.integers(1, 10**4))
def test_the_result_is_the_smallest_that_is_enough(amount: int, divisor: int) -> None:
    container = Container(resources=ResourceRequirements(limits={"cpu": f"{amount}m"}))
    found = int(read_resource(ResourceFieldRef(resource="limits.cpu", divisor=f"{divisor}m"), container, {}))
    if amount:
        assert (found - 1) * divisor < amount <= found * divisor


@pytest.mark.parametrize("resource", ["limits.gpu", "cpu", "", "usage.cpu", "limits."])
def test_what_is_no_resource(resource: str) -> None:
    with pytest.raises(QuantityError, match="unsupported container resource"):
        read_resource(ResourceFieldRef(resource=resource), LIMITED, NODE)
