"""What the proxy may write where Services are served on loopback: on each, where that is (`seaway.dev/served-at`).

Elsewhere it writes nothing to Services, and may not: the binding is made in this way to run and taken back in others.
"""

from __future__ import annotations

import contextlib

from seaway.api.machinery.errors import AlreadyExists, NotFound
from seaway.api.registry import CLUSTER_ROLE_BINDINGS
from seaway.app.identities import PIECE_IDENTITIES
from seaway.client.requests import Client

ROLE = "seaway:userspace-proxy"


async def set_served_at_right(client: Client, *, is_given: bool) -> None:
    """Bind the role to the proxy's user, or see to it that it is not bound."""
    if not is_given:
        with contextlib.suppress(NotFound):
            await client.delete(CLUSTER_ROLE_BINDINGS, ROLE)
        return
    binding = {
        "apiVersion": CLUSTER_ROLE_BINDINGS.api_version,
        "kind": CLUSTER_ROLE_BINDINGS.kind,
        "metadata": {"name": ROLE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
        "subjects": [
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": PIECE_IDENTITIES["proxy"][0]},
        ],
    }
    with contextlib.suppress(AlreadyExists):
        await client.create(CLUSTER_ROLE_BINDINGS, binding)
