"""The weights that Pods ask for, put beside their addresses in slices.

The annotation `seaway.dev/weights` of a slice of ours is ours, and what somebody else writes there is put right. A
slice whose Pods ask for nothing has none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from seaway.api.endpointslice.types import Endpoint
from seaway.api.endpointslice.weights import ANNOTATION_WEIGHT, parse_weight
from seaway.api.pod.types import Pod


def list_weights(pods: Iterable[Pod]) -> dict[str, int]:
    """By uid: the weights of Pods that ask for one, and whose words can be understood."""
    texts = ((pod.metadata.uid, pod.metadata.annotations.get(ANNOTATION_WEIGHT)) for pod in pods)
    parsed = {uid: parse_weight(text) for uid, text in texts if text is not None}
    return {uid: weight for uid, weight in parsed.items() if weight is not None}


def render_weights(endpoints: Sequence[Endpoint], weights: Mapping[str, int]) -> str | None:
    """The annotation of a slice with these endpoints; None: it has none. weights: by the uid of the Pod."""
    found = {
        address: weights[endpoint.target_ref.uid]
        for endpoint in endpoints
        if endpoint.target_ref is not None and endpoint.target_ref.uid in weights
        for address in endpoint.addresses
    }
    return json.dumps(found, sort_keys=True, separators=(",", ":")) if found else None
