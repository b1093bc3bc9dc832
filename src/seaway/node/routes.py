"""What the node's own HTTPS server serves, and to whom.

Whoever asks is known by a client certificate, and only by the name of the API server's: what users may ask of a node
is decided there, by RBAC on `nodes/proxy`. Rule: spec "node" §5.1, §5.2.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import unquote

import msgspec

from seaway.node.config import NodeConfig

Json = dict[str, Any]


class Page(Enum):
    """What can be asked for."""

    HEALTHZ = "/healthz"
    PODS = "/pods"
    CONFIGZ = "/configz"
    METRICS = "/metrics"


class Stream(Enum):
    """What else can be asked for, of one Pod: a conversation, or bytes as they come."""

    LOGS = "containerLogs"
    EXEC = "exec"
    ATTACH = "attach"
    FORWARD = "portForward"


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """Of which Pod, and which of its containers. uid: "" where the path names none."""

    kind: Stream
    namespace: str
    pod: str
    uid: str = ""
    container: str = ""


METHODS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
"""The verb of a method; any other method has none."""
SUBRESOURCES = (
    ("/stats", ("stats",)),
    ("/metrics", ("metrics",)),
    ("/logs", ("log",)),
    ("/checkpoint", ("checkpoint",)),
    ("/pods", ("pods", "proxy")),
    ("/runningpods", ("pods", "proxy")),
    ("/healthz", ("healthz", "proxy")),
    ("/configz", ("configz", "proxy")),
    ("/statusz", ("statusz",)),
    ("/flagz", ("configz",)),
)
"""What of the Node a path is, by its beginning; everything else is `proxy`."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer instead of a page."""

    status: int
    text: str


def find_page(method: str, path: str, user: str | None, *, clients: Collection[str]) -> Page | StreamRequest | Refused:
    """The page or stream, or why there is none. user: the name in the client's certificate, None without one.

    Who may not ask is not told what there is.
    """
    if user is None:
        return Refused(401, "Unauthorized")
    if user not in clients:
        asked = f"verb={METHODS.get(method, '')}, resource=nodes, subresource(s)=[{' '.join(find_subresources(path))}]"
        return Refused(403, f"Forbidden (user={user}, {asked})\n")
    stream = parse_stream_path(path)
    if stream is not None:
        is_allowed = method == "GET" or (method == "POST" and stream.kind is not Stream.LOGS)
        return stream if is_allowed else Refused(405, "405: Method Not Allowed\n")
    try:
        page = Page(path.removesuffix("/"))
    except ValueError:
        return Refused(404, "404 page not found\n")
    return page if method == "GET" else Refused(405, "405: Method Not Allowed\n")


def parse_stream_path(path: str) -> StreamRequest | None:
    """`/KIND/NAMESPACE/POD[/UID]/CONTAINER`, without the container for a port-forward. Rule: spec "node" §5.2."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    try:
        kind = Stream(parts[0])
    except ValueError:
        return None
    names = parts[1:]
    if kind is Stream.FORWARD and len(names) in (2, 3):
        return StreamRequest(kind, names[0], names[1], *names[2:])
    if kind is Stream.LOGS and len(names) == 3:
        return StreamRequest(kind, names[0], names[1], "", names[2])
    if kind in (Stream.EXEC, Stream.ATTACH) and len(names) in (3, 4):
        return StreamRequest(kind, names[0], names[1], "".join(names[2:-1]), names[-1])
    return None


def find_subresources(path: str) -> tuple[str, ...]:
    """Which subresources of the Node the path is part of; any of them would do."""
    return next((names for prefix, names in SUBRESOURCES if path.startswith(prefix)), ("proxy",))


def find_common_name(subject: tuple[tuple[tuple[str, str], ...], ...]) -> str | None:
    """The name in a certificate's subject, as Python's `ssl` tells it; of several the last, as Go reads them."""
    return next((value for part in reversed(subject) for name, value in part if name == "commonName"), None)


def encode_pods(items: Collection[msgspec.Raw]) -> bytes:
    """The PodList."""
    return msgspec.json.encode({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": list(items)})


def encode_config(config: NodeConfig, *, port: int) -> bytes:
    """What of the agent's configuration a kubelet's has too, in its words. port: where the server listens."""
    told: Json = {
        "address": config.node_ips[0],
        "port": port,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
        "clusterDomain": config.cluster_domain,
        "clusterDNS": [config.dns_ip] if config.dns_ip else [],
        "maxPods": config.max_pods,
        "podPidsLimit": config.pod_max_pids or -1,
        "nodeLeaseDurationSeconds": config.lease_duration_seconds,
        "resolvConf": str(config.resolv_conf),
    }
    return msgspec.json.encode({"kubeletconfig": told})
