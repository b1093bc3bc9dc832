"""The Events of a proxy, in the form of events.k8s.io/v1, and which of them still are to be told.

Rule: spec "proxy" §11.4; issue of the proxy, "bad input".
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

MAX_NOTE = 1024
MAX_KNOWN = 4096
MAX_OF_ONE = 25
"""About one object; client-go's filter of Events lets as many through at once."""
CONTROLLER = "kube-proxy"
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Occurrence:
    """What is to be told about an object. key: its name, or `namespace/name`."""

    kind: str
    key: str
    type: str
    reason: str
    action: str
    note: str = ""
    uid: str = ""

    @property
    def namespace(self) -> str:
        """Where the Event is: of a Node, in `default`."""
        return self.key.partition("/")[0] if "/" in self.key else "default"


def starting(node_name: str) -> Occurrence:
    """The process has begun."""
    return Occurrence("Node", node_name, "Normal", "Starting", "StartKubeProxy")


def not_listening(node_name: str, reason: str) -> Occurrence:
    """A page of the proxy's own cannot be served. reason: upstream's."""
    return Occurrence("Node", node_name, "Warning", reason, "StartKubeProxy")


def make_event(told: Occurrence, *, host_name: str, time: str, name_suffix: str = "") -> dict[str, Any]:
    """The Event as it is created.

    name_suffix: makes it one of its own. Without it the name follows from what is told, so that several proxies, and
    one that starts again, make one Event of it.
    """
    namespace, _, name = told.key.rpartition("/")
    digest = hashlib.blake2b(f"{told.uid} {told.reason} {told.note}".encode(), digest_size=8).hexdigest()
    regarding = {"apiVersion": "v1", "kind": told.kind, "name": name}
    if namespace:
        regarding["namespace"] = namespace
    if told.uid:
        regarding["uid"] = told.uid
    event: dict[str, Any] = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{name[:_MAX_NAME]}.{name_suffix or digest}", "namespace": told.namespace},
        "eventTime": time,
        "reportingController": CONTROLLER,
        "reportingInstance": f"{CONTROLLER}-{host_name}"[:128],
        "action": told.action,
        "reason": told.reason,
        "regarding": regarding,
        "type": told.type,
    }
    return event | {"note": told.note[:MAX_NOTE]} if told.note else event


def format_event_time(wall_seconds: float) -> str:
    """The time as eventTime has it: UTC, to the microsecond."""
    return datetime.fromtimestamp(wall_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Told:
    """What has been told; the oldest of many are forgotten.

    Of one object not much is told: nonsense may change for ever.
    """

    def __init__(self, *, limit: int = MAX_KNOWN, limit_of_one: int = MAX_OF_ONE) -> None:
        self._known: OrderedDict[Occurrence, None] = OrderedDict()
        self._of_one: Counter[tuple[str, str]] = Counter()
        self._limit, self._limit_of_one = limit, limit_of_one

    def is_new(self, told: Occurrence) -> bool:
        """Whether nobody was told yet, and it is to be told; from now on somebody is."""
        if told in self._known:
            self._known.move_to_end(told)
            return False
        if self._of_one.get((told.kind, told.key), 0) >= self._limit_of_one:
            return False
        self._known[told] = None
        self._of_one[told.kind, told.key] += 1
        if len(self._known) > self._limit:
            oldest, _ = self._known.popitem(last=False)
            self._of_one[oldest.kind, oldest.key] -= 1
            if not self._of_one[oldest.kind, oldest.key]:
                del self._of_one[oldest.kind, oldest.key]
        return True
