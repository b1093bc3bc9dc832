"""The API server's access log and audit log, opened as its options say; and how many connections the process bears."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from seaway.api.machinery.yaml_codec import parse_yaml
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.observability.audit import LEVELS, AuditTrail, Policy, make_policy, parse_policy
from seaway.apiserver.overload.limits import ConnectionLimits
from seaway.apiserver.serving.logfile import LogFile
from seaway.app.options import ApiOptions
from seaway.net.errors import OperationalError

OTHER_FILES = 256
"""Descriptors that are no connections: database, logs, listening sockets, the spare one of each handshake."""


@contextmanager
def open_access_log(options: ApiOptions) -> Iterator[LogFile | None]:
    """Open until the end of the block. Raises OperationalError."""
    log = _open("--access-log", options.access_log) if options.access_log else None
    try:
        yield log
    finally:
        if log is not None:
            log.close()


@contextmanager
def audit_to_log(options: ApiOptions, server: ApiServer) -> Iterator[None]:
    """Audit the server's requests until the end of the block. Raises OperationalError."""
    if not options.audit_log_path:
        yield
        return
    policy = read_policy(options)
    log = _open("--audit-log-path", options.audit_log_path)
    server.audit = AuditTrail(policy, log.write, server.state.effects.wall_now)
    try:
        yield
    finally:
        server.audit = None
        log.close()


def read_policy(options: ApiOptions) -> Policy:
    """The policy of the file, else everything at the level. Raises OperationalError."""
    path = options.audit_policy_file
    if path is None:
        return make_policy(LEVELS[options.audit_level])
    try:
        document, _ = parse_yaml(path.read_bytes())
    except OSError as error:
        raise OperationalError(f"--audit-policy-file {path}: {error.strerror}; give a file that can be read") from error
    except ValueError as error:
        raise OperationalError(f"--audit-policy-file {path}: {error}") from error
    return parse_policy(document, subject=str(path))


def make_connection_limits() -> ConnectionLimits:
    """The defaults, or fewer connections where the process may not open so many files; it takes all it may first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ConnectionLimits().connections + OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    connections = max(1, min(wanted, soft) - OTHER_FILES)
    return ConnectionLimits(connections=connections, connections_per_source=max(1, connections // 2))


def _open(flag: str, path: str) -> LogFile:
    try:
        return LogFile(path)
    except OSError as error:
        raise OperationalError(f"{flag} {path}: {error.strerror}; give a file that can be written, or -") from error
