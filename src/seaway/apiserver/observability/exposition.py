"""What `/metrics` answers: the counters under upstream's names where the meaning is the same, as Prometheus text.

Every family is there from the start, with a row for each set of labels that was seen. Names with the prefix `seaway_`
have no twin upstream.
Rule: spec "api-machinery" §11; the text format 0.0.4 of Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from seaway.api.registry import Resource
from seaway.apiserver.documents.discovery import VERSION
from seaway.apiserver.observability.metrics import Labels, ListCell, Metrics
from seaway.apiserver.overload.gate import Gate
from seaway.apiserver.state import ServerState
from seaway.telemetry.exposition import Distribution, Family, Row, collect_process, render_families

_REQUEST = Labels._fields
_WITHOUT_DRY_RUN = tuple(name for name in _REQUEST if name != "dry_run")


def render(state: ServerState, gates: dict[str, Gate]) -> bytes:
    """The text of all families."""
    return render_families(collect(state, gates))


def collect(state: ServerState, gates: dict[str, Gate]) -> Iterator[Family]:
    """All families, in the order of the page."""
    yield from _collect_requests(state.metrics)
    yield from _collect_queues(state.metrics, gates)
    yield from _collect_watches(state)
    yield from _collect_objects(state)
    yield from _collect_access(state.metrics)
    yield from _collect_allocators(state)
    yield from _collect_server(state)
    yield from collect_process()


def _collect_requests(metrics: Metrics) -> Iterator[Family]:
    cells = metrics.cells
    rows: list[Row] = [((*c.labels, str(code)), n) for c in cells for code, n in sorted(c.codes.items())]
    yield Family("apiserver_request_total", "counter", "Requests answered, by code.", (*_REQUEST, "code"), rows)
    complete = [cell for cell in cells if any(cell.durations.counts)]
    rows = [(cell.labels, cell.durations) for cell in complete]
    yield Family("apiserver_request_duration_seconds", "histogram", "Time to the answer.", _REQUEST, rows)
    rows = [(_drop_dry_run(cell.labels), _add(cell.durations, cell.waits)) for cell in complete]
    name, text = "apiserver_request_sli_duration_seconds", "The same without the wait for a turn."
    yield Family(name, "histogram", text, _WITHOUT_DRY_RUN, _merge(rows))
    rows = [(_drop_dry_run(cell.labels), cell.sizes) for cell in complete if cell.is_read]
    yield Family("apiserver_response_sizes", "histogram", "Bytes of answers to reads.", _WITHOUT_DRY_RUN, _merge(rows))
    labels = ("group", "resource", "verb")
    rows = [((c.labels.group, c.labels.resource, c.labels.verb), c.bodies) for c in cells if any(c.bodies.counts)]
    yield Family("apiserver_request_body_size_bytes", "histogram", "Bytes of request bodies.", labels, _merge(rows))
    rows = [((*_drop_dry_run(c.labels), str(code)), n) for c in cells for code, n in sorted(c.terminated.items())]
    text = "Requests refused because the server is busy, or ended because they took too long."
    yield Family("apiserver_request_terminations_total", "counter", text, (*_WITHOUT_DRY_RUN, "code"), _merge(rows))
    rows = [(_drop_dry_run(cell.labels), cell.aborts) for cell in cells if cell.aborts]
    text = "Answers broken off after their header was sent."
    yield Family("apiserver_request_aborts_total", "counter", text, _WITHOUT_DRY_RUN, _merge(rows))
    rows = [(_drop_dry_run(cell.labels), cell.running) for cell in cells if cell.running]
    yield Family("apiserver_longrunning_requests", "gauge", "Open watches and streams.", _WITHOUT_DRY_RUN, _merge(rows))


def _collect_queues(metrics: Metrics, gates: dict[str, Gate]) -> Iterator[Family]:
    rows: list[Row] = [((kind,), count) for kind, count in sorted(metrics.in_flight.items())]
    yield Family("apiserver_current_inflight_requests", "gauge", "Requests at work.", ("request_kind",), rows)
    rows = [((kind,), sum(gate.refused.values())) for kind, gate in sorted(gates.items())]
    yield Family("apiserver_dropped_requests_total", "counter", "Requests refused with 429.", ("request_kind",), rows)
    prefix, labels = "apiserver_flowcontrol", ("priority_level", "flow_schema")
    levels = sorted(gates.items())
    rows = [((level,), gate.queue.seats) for level, gate in levels]
    text = "Requests that may be at work at once."
    yield Family(f"{prefix}_nominal_limit_seats", "gauge", text, labels[:1], rows)
    rows = [((level, "fair"), gate.queue.running) for level, gate in levels]
    yield Family(f"{prefix}_current_executing_requests", "gauge", "Requests that have their turn.", labels, rows)
    rows = [((level, "fair"), gate.queue.waiting) for level, gate in levels]
    yield Family(f"{prefix}_current_inqueue_requests", "gauge", "Requests that wait for their turn.", labels, rows)
    rows = [((level, "fair"), gate.dispatched) for level, gate in levels]
    yield Family(f"{prefix}_dispatched_requests_total", "counter", "Requests that got their turn.", labels, rows)
    rows = [((level, "fair", phase.value), count) for level, gate in levels for phase, count in gate.refused.items()]
    text = "Requests refused: no room, or waited too long."
    yield Family(f"{prefix}_rejected_requests_total", "counter", text, (*labels, "reason"), rows)


def _collect_watches(state: ServerState) -> Iterator[Family]:
    cells = state.metrics.watch_cells
    labels: tuple[str, ...] = ("group", "version", "resource")
    sizes: list[Row] = [(_full(kind), cell.events) for kind, cell in cells]
    rows: list[Row] = [(_full(kind), sum(cell.events.counts)) for kind, cell in cells]
    yield Family("apiserver_watch_events_total", "counter", "Events sent to watchers.", labels, rows)
    yield Family("apiserver_watch_events_sizes", "histogram", "Bytes of events sent to watchers.", labels, sizes)
    rows = [((*_full(kind), scope), d) for kind, cell in cells for scope, d in sorted(cell.lists.items())]
    name, text = "apiserver_watch_list_duration_seconds", "Time until a watch had its initial events."
    yield Family(name, "histogram", text, (*labels, "scope"), rows)
    labels = labels[::2]
    rows = [(_short(kind), cell.initial) for kind, cell in cells]
    yield Family(
        "apiserver_init_events_total", "counter", "Events that told a watcher the state.", labels, _merge(rows)
    )
    rows = [(_short(kind), cell.terminated) for kind, cell in cells]
    text = "Watches ended because their reader could not keep up."
    yield Family("apiserver_terminated_watchers_total", "counter", text, labels, _merge(rows))
    caches = [(cache.resource, cache) for cache in state.watch_cache]
    rows = [(_short(kind), cache.received) for kind, cache in caches]
    name, text = "apiserver_watch_cache_events_received_total", "Changes that memory took from the store."
    yield Family(name, "counter", text, labels, _merge(rows))
    rows = [(_short(kind), cache.dispatched) for kind, cache in caches]
    name, text = "apiserver_watch_cache_events_dispatched_total", "Changes shown to watchers."
    yield Family(name, "counter", text, labels, _merge(rows))
    rows = [(key, spent) for key, spent in sorted(state.metrics.read_waits.items())]
    name, text = "apiserver_watch_cache_read_wait_seconds", "Time until memory had the revision that a read named."
    yield Family(name, "histogram", text, labels, rows)
    rows = [(_short(kind), cache.changed_at) for kind, cache in caches]
    name, text = "apiserver_watch_cache_resource_version", "Last revision at which the kind changed."
    yield Family(name, "gauge", text, labels, rows)


def _collect_objects(state: ServerState) -> Iterator[Family]:
    counts = [(cache.resource, len(cache)) for cache in state.watch_cache]
    rows: list[Row] = [(_short(kind), count) for kind, count in counts]
    yield Family("apiserver_resource_objects", "gauge", "Stored objects.", ("group", "resource"), rows)
    rows = [((f"{kind.plural}.{kind.group}" if kind.group else kind.plural,), count) for kind, count in counts]
    yield Family("apiserver_storage_objects", "gauge", "Stored objects, under the older name.", ("resource",), rows)
    metrics = state.metrics
    yield from _collect_lists("apiserver_cache_list", "from memory", metrics.cache_lists)
    yield from _collect_lists("apiserver_storage_list", "from the store's history", metrics.store_lists)
    rows = [((operation,), spent) for operation, spent in sorted(metrics.store_seconds.items())]
    name, text = "seaway_apiserver_store_request_duration_seconds", "Time of requests to the store."
    yield Family(name, "histogram", text, ("operation",), rows)
    rows = [((operation,), count) for operation, count in sorted(metrics.store_errors.items())]
    name, text = "seaway_apiserver_store_request_errors_total", "Requests that the store could not serve."
    yield Family(name, "counter", text, ("operation",), rows)


def _collect_lists(prefix: str, whence: str, cells: dict[Resource, ListCell]) -> Iterator[Family]:
    ordered = sorted(cells.items(), key=lambda item: (item[0].group, item[0].plural))
    labels = ("group", "resource")
    rows: list[Row] = [(_short(kind), cell.count) for kind, cell in ordered]
    yield Family(f"{prefix}_total", "counter", f"Lists answered {whence}.", labels, _merge(rows))
    rows = [(_short(kind), cell.fetched) for kind, cell in ordered]
    text = f"Objects looked at for lists {whence}."
    yield Family(f"{prefix}_fetched_objects_total", "counter", text, labels, _merge(rows))
    rows = [(_short(kind), cell.returned) for kind, cell in ordered]
    yield Family(f"{prefix}_returned_objects_total", "counter", f"Objects in lists {whence}.", labels, _merge(rows))


def _collect_access(metrics: Metrics) -> Iterator[Family]:
    rows: list[Row] = [(("failure",), metrics.failed_authentications), (("success",), sum(metrics.users.values()))]
    yield Family("authentication_attempts", "counter", "Requests with credentials.", ("result",), rows)
    rows = [((user,), count) for user, count in sorted(metrics.users.items())]
    yield Family("authenticated_user_requests", "counter", "Requests by kind of user.", ("username",), rows)
    rows = [((result,), spent) for result, spent in metrics.authentication_seconds.items()]
    name, text = "authentication_duration_seconds", "Time to find out whose credentials they are."
    yield Family(name, "histogram", text, ("result",), rows)
    rows = [((result,), sum(spent.counts)) for result, spent in metrics.authorization_seconds.items()]
    yield Family("authorization_attempts_total", "counter", "Decisions of authorization.", ("result",), rows)
    rows = [((result,), spent) for result, spent in metrics.authorization_seconds.items()]
    name, text = "authorization_duration_seconds", "Time of the decisions."
    yield Family(name, "histogram", text, ("result",), rows)
    rows = [(key, spent) for key, spent in sorted(metrics.admissions.items())]
    name, text = "apiserver_admission_controller_admission_duration_seconds", "Time of each admission plugin."
    yield Family(name, "histogram", text, ("name", "operation", "rejected", "type"), rows)
    yield Family("apiserver_audit_event_total", "counter", "Audit events written.", (), [((), metrics.audit_events)])
    name, text = "apiserver_audit_error_total", "Audit events lost: the log is full or too slow."
    yield Family(name, "counter", text, ("plugin",), [(("log",), metrics.audit_drops)])
    name, text = "seaway_apiserver_access_log_errors_total", "Lines of the access log that were lost."
    yield Family(name, "counter", text, (), [((), metrics.access_log_drops)])


def _collect_allocators(state: ServerState) -> Iterator[Family]:
    allocator = state.allocator
    pools = allocator.ranges.pools
    prefix = "kube_apiserver_clusterip_allocator"
    rows: list[Row] = [((cidr,), pool.size - pool.free) for cidr, pool in pools]
    yield Family(f"{prefix}_allocated_ips", "gauge", "Addresses of Services that are taken.", ("cidr",), rows)
    rows = [((cidr,), pool.free) for cidr, pool in pools]
    yield Family(f"{prefix}_available_ips", "gauge", "Addresses of Services that are free.", ("cidr",), rows)
    labels = ("cidr", "scope")
    rows = [(key, count) for key, count in sorted(allocator.address_claims.items())]
    yield Family(f"{prefix}_allocation_total", "counter", "Addresses claimed for Services.", labels, rows)
    rows = [(key, count) for key, count in sorted(allocator.address_refusals.items())]
    yield Family(f"{prefix}_allocation_errors_total", "counter", "Addresses that could not be claimed.", labels, rows)
    rows = [((cidr,), spent) for cidr, spent in sorted(state.metrics.address_seconds.items())]
    yield Family(f"{prefix}_allocation_duration_seconds", "histogram", "Time of the commit.", ("cidr",), rows)
    prefix, ports = "kube_apiserver_nodeport_allocator", allocator.port_pool
    yield Family(
        f"{prefix}_allocated_ports", "gauge", "Node ports that are taken.", (), [((), ports.size - ports.free)]
    )
    yield Family(f"{prefix}_available_ports", "gauge", "Node ports that are free.", (), [((), ports.free)])
    rows = [((scope,), count) for scope, count in sorted(allocator.port_claims.items())]
    yield Family(f"{prefix}_allocation_total", "counter", "Node ports claimed.", ("scope",), rows)
    rows = [((scope,), count) for scope, count in sorted(allocator.port_refusals.items())]
    yield Family(
        f"{prefix}_allocation_errors_total", "counter", "Node ports that could not be claimed.", ("scope",), rows
    )
    for loop, noun in (("clusterip", "ip"), ("nodeport", "port")):
        rows = [((kind,), count) for (of, kind), count in sorted(state.metrics.repairs.items()) if of == loop]
        name, text = f"apiserver_{loop}_repair_{noun}_errors_total", "What the repair loop found wrong."
        yield Family(name, "counter", text, ("type",), rows)
        name, text = f"apiserver_{loop}_repair_reconcile_errors_total", "Passes that could not be finished."
        yield Family(name, "counter", text, (), [((), state.metrics.broken_repairs[loop])])


def _collect_server(state: ServerState) -> Iterator[Family]:
    metrics = state.metrics
    name, text = "apiserver_tls_handshake_errors_total", "Connections that ended before TLS was agreed."
    yield Family(name, "counter", text, (), [((), metrics.broken_handshakes)])
    rows: list[Row] = [((listener,), count) for listener, count in sorted(metrics.connections.items())]
    yield Family("seaway_apiserver_connections", "gauge", "Open connections.", ("listener",), rows)
    rows = [((reason,), count) for reason, count in sorted(metrics.refused_connections.items())]
    name, text = "seaway_apiserver_connections_refused_total", "Connections closed at once: too many."
    yield Family(name, "counter", text, ("reason",), rows)
    name, text = "seaway_apiserver_connections_stalled_total", "Connections ended because their reader stood still."
    yield Family(name, "counter", text, (), [((), metrics.stalled_connections)])
    name, text = "seaway_apiserver_revision", "Last revision that readers see."
    yield Family(name, "gauge", text, (), [((), state.watch_cache.revision)])
    keys = {"major": "major", "minor": "minor", "git_version": "gitVersion", "git_commit": "gitCommit"}
    keys |= {"git_tree_state": "gitTreeState", "build_date": "buildDate", "go_version": "goVersion"}
    keys |= {"compiler": "compiler", "platform": "platform"}
    values = tuple(VERSION[key] for key in keys.values())
    yield Family("kubernetes_build_info", "gauge", "The release that is served.", tuple(keys), [(values, 1)])


def _drop_dry_run(labels: Labels) -> tuple[str, ...]:
    return (labels.verb, *labels[2:])


def _full(kind: Resource) -> tuple[str, str, str]:
    return (kind.group, kind.version, kind.plural)


def _short(kind: Resource) -> tuple[str, str]:
    return (kind.group, kind.plural)


def _merge(rows: Iterable[Row]) -> list[Row]:
    """Rows of equal labels added up, sorted."""
    merged: dict[tuple[str, ...], float | Distribution] = {}
    for labels, value in rows:
        known = merged.get(labels)
        if known is None:
            merged[labels] = value
        elif isinstance(known, Distribution) and isinstance(value, Distribution):
            merged[labels] = _add(known, value)
        else:
            assert not isinstance(known, Distribution) and not isinstance(value, Distribution)
            merged[labels] = known + value
    return sorted(merged.items(), key=lambda row: row[0])


def _add(left: Distribution, right: Distribution) -> Distribution:
    total = Distribution(left.bounds)
    total.counts = [a + b for a, b in zip(left.counts, right.counts, strict=True)]
    total.total = left.total + right.total
    return total
