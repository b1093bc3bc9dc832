"""What the server counts. Counting is cheap: a cell per set of labels, found once per request.

How it looks on the wire is `exposition.py`'s business. Labels come from the table of kinds and from fixed lists, never
from what a client wrote, so their number is bounded.
Rule: spec "api-machinery" §11.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from typing import NamedTuple

from seaway.api.machinery.http import ANONYMOUS, Identity, Request
from seaway.api.registry import Resource, find_resource
from seaway.apiserver.observability.health import ROOTS
from seaway.apiserver.routes import Route
from seaway.telemetry.exposition import Distribution

# Upstream's bounds of apiserver_request_duration_seconds, thinned out, and one for answers from memory.
DURATION_BOUNDS = (0.001, 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
SIZE_BOUNDS = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
"""Upstream's for answers: 1 kB to 1 GB."""
BODY_BOUNDS = (5e4, 1.5e5, 2.5e5, 5e5, 1e6, 1.5e6, 2e6, 2.5e6, 3e6)
EVENT_BOUNDS = (1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131072.0)
"""Both upstream's, the first thinned out."""
ACCESS_BOUNDS = (0.00001, 0.0001, 0.001, 0.004, 0.016, 0.064, 0.256, 1.024, 4.096, 16.384)
"""Upstream's from a millisecond on, every second one; here most decisions take microseconds."""
STORE_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

METHODS = ("GET", "LIST", "WATCH", "POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION", "CONNECT", "OTHER")
_METHOD_OF_VERB = {
    "get": "GET",
    "list": "LIST",
    "watch": "WATCH",
    "create": "POST",
    "post": "POST",
    "update": "PUT",
    "put": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
    "deletecollection": "DELETECOLLECTION",
}
SUBRESOURCES = frozenset(
    ("", "status", "scale", "finalize", "binding", "eviction", "token", "log", "exec", "attach", "portforward", "proxy",
     "ephemeralcontainers", "approval")
)  # fmt: skip
_CONNECTS = frozenset(("exec", "attach", "portforward", "proxy"))
PATHS = frozenset((*ROOTS, "/", "/api", "/apis", "/metrics", "/openapi", "/version", "/openid", "/.well-known"))
_KNOWN_USERS = frozenset(
    ("admin", "system:anonymous", "system:apiserver", "system:kube-controller-manager", "system:kube-proxy",
     "system:kube-scheduler", "kubernetes-admin", "seaway:dns", "seaway:healthcheck")
)  # fmt: skip


class Labels(NamedTuple):
    """Of one request, under upstream's names. `scope`: resource, namespace, cluster, or empty."""

    verb: str
    dry_run: str
    group: str
    version: str
    resource: str
    subresource: str
    scope: str
    component: str = "apiserver"


class RequestCell:
    """The requests of one set of labels."""

    __slots__ = (
        "aborts",
        "bodies",
        "codes",
        "durations",
        "is_read",
        "labels",
        "running",
        "sizes",
        "terminated",
        "waits",
    )

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.is_read = labels.verb in ("GET", "LIST")
        self.codes: dict[int, int] = {}
        self.terminated: dict[int, int] = {}
        self.aborts = 0
        self.running = 0
        self.durations = Distribution(DURATION_BOUNDS)
        self.waits = Distribution(DURATION_BOUNDS)
        """To be added to `durations` for the time without waiting for a turn."""
        self.sizes = Distribution(SIZE_BOUNDS)
        self.bodies = Distribution(BODY_BOUNDS)

    def answer(self, code: int, size: int, seconds: float, waited: float) -> None:
        """One answer that was complete when it left the handler. waited: how much of the seconds for its turn."""
        codes = self.codes
        codes[code] = codes.get(code, 0) + 1
        durations = self.durations  # not by a call: this is done for every request
        durations.counts[bisect_left(DURATION_BOUNDS, seconds)] += 1
        durations.total += seconds
        if self.is_read:
            sizes = self.sizes
            sizes.counts[bisect_left(SIZE_BOUNDS, size)] += 1
            sizes.total += size
        if waited:
            self.waits.move(seconds, seconds - waited)

    def begin_stream(self, code: int) -> None:
        """One answer that goes on for long."""
        self.codes[code] = self.codes.get(code, 0) + 1
        self.running += 1

    def end_stream(self) -> None:
        self.running -= 1

    def terminate(self, code: int) -> None:
        """The server refused it for being busy, or broke it off for having taken too long."""
        self.terminated[code] = self.terminated.get(code, 0) + 1


class WatchCell:
    """The watches of one kind."""

    __slots__ = ("events", "initial", "lists", "terminated")

    def __init__(self) -> None:
        self.events = Distribution(EVENT_BOUNDS)
        self.initial = 0
        self.terminated = 0
        self.lists: dict[str, Distribution] = {}

    def end_list(self, scope: str, seconds: float) -> None:
        """The bookmark that ends the initial events was handed to the reader."""
        if scope not in self.lists:
            self.lists[scope] = Distribution(DURATION_BOUNDS)
        self.lists[scope].observe(seconds)


class ListCell:
    """The lists of one kind: how many, and the objects looked at and returned."""

    __slots__ = ("count", "fetched", "returned")

    def __init__(self) -> None:
        self.count = self.fetched = self.returned = 0

    def add(self, fetched: int, returned: int) -> None:
        self.count += 1
        self.fetched += fetched
        self.returned += returned


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, ...], RequestCell] = {}
        self._watches: dict[Resource, WatchCell] = {}
        self.in_flight = {"mutating": 0, "readOnly": 0}
        self.cache_lists: dict[Resource, ListCell] = {}
        self.store_lists: dict[Resource, ListCell] = {}
        self.store_seconds: dict[str, Distribution] = {}
        self.store_errors: dict[str, int] = {}
        self.failed_authentications = 0
        self.users: dict[str, int] = {}
        self.authentication_seconds = {"failure": Distribution(ACCESS_BOUNDS), "success": Distribution(ACCESS_BOUNDS)}
        self.authorization_seconds = {"allowed": Distribution(ACCESS_BOUNDS), "denied": Distribution(ACCESS_BOUNDS)}
        self.admissions: dict[tuple[str, str, str, str], Distribution] = {}
        """By plugin, operation, whether it refused, and `admit` (it may change the object) or `validate`."""
        self.read_waits: dict[tuple[str, str], Distribution] = {}
        """By group and resource: reads that named a revision, and how long memory took to have it."""
        self.repairs: dict[tuple[str, str], int] = {}
        """What the repair loops found: "clusterip" or "nodeport", and upstream's word for what it was."""
        self.broken_repairs = {"clusterip": 0, "nodeport": 0}
        """Passes of each repair loop that could not be finished."""
        self.address_seconds: dict[str, Distribution] = {}
        """By range: the commits that took an address; choosing it takes microseconds."""
        self.audit_events = self.audit_drops = self.access_log_drops = 0
        self.connections: dict[str, int] = {}
        self.refused_connections = {"total": 0, "source": 0}
        self.broken_handshakes = 0
        self.stalled_connections = 0

    def cell(self, request: Request, route: Route) -> RequestCell:
        """Where the request counts."""
        dry_run = request.find_parameter("dryRun") or "" if request.query else ""
        scope = "resource" if route.name else "namespace" if route.namespace else "cluster"
        media = request.headers.get("content-type", "") if route.verb == "patch" else ""
        plural = route.plural or route.path
        key = (route.verb, dry_run, route.group, route.version, plural, route.subresource, scope, media)
        found = self._cells.get(key)
        if found is None:
            found = self._make_cell(key, label_request(request, route))
        return found

    def _make_cell(self, key: tuple[str, ...], labels: Labels) -> RequestCell:
        """The cell of the labels; found by the request's own words too where those are labels as they are."""
        cell = self._cells.get(labels)
        if cell is None:
            cell = self._cells[labels] = RequestCell(labels)
        words = (labels.dry_run, labels.group, labels.version, labels.resource, labels.subresource)
        if labels.resource and words == key[1:6] and not key[7] and key[0] in _METHOD_OF_VERB:
            self._cells[key] = cell
        return cell

    @property
    def cells(self) -> list[RequestCell]:
        """All of them, by label."""
        return sorted(set(self._cells.values()), key=lambda cell: cell.labels)

    def watch_cell(self, resource: Resource) -> WatchCell:
        """Where the watches of the kind count."""
        cell = self._watches.get(resource)
        if cell is None:
            cell = self._watches[resource] = WatchCell()
        return cell

    @property
    def watch_cells(self) -> list[tuple[Resource, WatchCell]]:
        return sorted(self._watches.items(), key=lambda item: (item[0].group, item[0].version, item[0].plural))

    def count_list(self, cells: dict[Resource, ListCell], resource: Resource, fetched: int, returned: int) -> None:
        """One list that was answered from memory (`cache_lists`) or from the store (`store_lists`)."""
        cell = cells.get(resource)
        if cell is None:
            cell = cells[resource] = ListCell()
        cell.add(fetched, returned)

    def count_store(self, operation: str, seconds: float, *, failed: bool = False) -> None:
        """One request to the store."""
        if operation not in self.store_seconds:
            self.store_seconds[operation] = Distribution(STORE_BOUNDS)
        self.store_seconds[operation].observe(seconds)
        if failed:
            self.store_errors[operation] = self.store_errors.get(operation, 0) + 1

    def count_repair(self, loop: str, kind: str) -> None:
        """One finding of the loop "clusterip" or "nodeport"."""
        self.repairs[loop, kind] = self.repairs.get((loop, kind), 0) + 1

    def count_address(self, cidr: str, seconds: float) -> None:
        """An address of the range was taken."""
        if cidr not in self.address_seconds:
            self.address_seconds[cidr] = Distribution(STORE_BOUNDS)
        self.address_seconds[cidr].observe(seconds)

    def count_broken_repair(self, loop: str) -> None:
        """A pass of the loop "clusterip" or "nodeport" that could not be finished."""
        self.broken_repairs[loop] += 1

    def count_authentication(self, identity: Identity | None, seconds: float) -> None:
        """One request with credentials, good or (None) bad; the anonymous one has none."""
        if identity is not None and identity.user == ANONYMOUS.user:
            return
        spent = self.authentication_seconds["failure" if identity is None else "success"]
        spent.counts[bisect_left(ACCESS_BOUNDS, seconds)] += 1  # not by a call: this is done for every request
        spent.total += seconds
        if identity is None:
            self.failed_authentications += 1
        else:
            user = label_user(identity.user)
            self.users[user] = self.users.get(user, 0) + 1

    def count_authorization(self, seconds: float, *, allowed: bool) -> None:
        """One decision about a request."""
        spent = self.authorization_seconds["allowed" if allowed else "denied"]
        spent.counts[bisect_left(ACCESS_BOUNDS, seconds)] += 1
        spent.total += seconds

    def count_read_wait(self, resource: Resource, seconds: float) -> None:
        """One read that named a revision."""
        key = (resource.group, resource.plural)
        if key not in self.read_waits:
            self.read_waits[key] = Distribution(DURATION_BOUNDS)
        self.read_waits[key].observe(seconds)

    def count_admission(self, plugin: str, operation: str, seconds: float, *, kind: str, refused: bool) -> None:
        """One look of an admission plugin at a write."""
        key = (plugin, operation, "true" if refused else "false", kind)
        if key not in self.admissions:
            self.admissions[key] = Distribution(DURATION_BOUNDS)
        self.admissions[key].observe(seconds)


def label_request(request: Request, route: Route) -> Labels:
    """The labels of a request; of what nobody serves only the method."""
    method = _METHOD_OF_VERB.get(route.verb, "OTHER")
    if not route.is_resource:
        path = route.path.rstrip("/") or "/"
        root = path if path in PATHS else f"/{path.removeprefix('/').split('/')[0]}"
        return Labels(method, "", "", "", "", root if root in PATHS else "", "")
    if route.subresource.split("/")[0] in _CONNECTS:
        method = "CONNECT"
    elif method == "PATCH" and "apply-patch" in request.headers.get("content-type", ""):
        method = "APPLY"
    if find_resource(route.group, route.version, route.plural) is None:
        return Labels(method, "", "", "", "", "", "")
    subresource = route.subresource.split("/")[0]
    scope = "resource" if route.name else "namespace" if route.namespace else "cluster"
    dry_run = "All" if request.find_parameter("dryRun") == "All" else ""
    subresource = subresource if subresource in SUBRESOURCES else "other"
    return Labels(method, dry_run, route.group, route.version, route.plural, subresource, scope)


@functools.lru_cache(maxsize=1024)
def label_user(user: str) -> str:
    """The user as a label: those that every cluster has, and what kind of user any other is."""
    if user in _KNOWN_USERS:
        return user
    for prefix in ("system:serviceaccount:", "system:node:", "system:bootstrap:"):
        if user.startswith(prefix):
            return prefix.rstrip(":")
    return "other"
