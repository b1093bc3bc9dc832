"""The API server's logs as its options say. Rule: issue 3 part 7."""

from __future__ import annotations

import asyncio
import json
import resource
from pathlib import Path

import pytest

from seaway.api.machinery.http import Request
from seaway.apiserver.observability.audit import Level
from seaway.apiserver.run import ServerConfig, open_server
from seaway.app.api_logs import audit_to_log, make_connection_limits, open_access_log, read_policy
from seaway.app.options import ApiOptions
from seaway.net.errors import OperationalError
from seaway.store.memory import MemoryStore
from tests.apiserver.conversation import ADMIN

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  nonResourceURLs: [/version]
- level: Metadata
"""


def test_requests_are_audited_until_the_end_of_the_block(tmp_path: Path) -> None:
    policy, log = tmp_path / "policy.yaml", tmp_path / "audit.log"
    policy.write_text(POLICY)
    options = ApiOptions(audit_log_path=str(log), audit_policy_file=policy)

    async def run() -> None:
        store = MemoryStore()
        server = await open_server(ServerConfig(), store, runs_loops=False)
        with audit_to_log(options, server):
            await server.handle(Request("GET", "/version"), ADMIN)
            await server.handle(Request("GET", "/livez"), ADMIN)
        await server.handle(Request("GET", "/livez"), ADMIN)
        await server.close()
        await store.close()

    asyncio.run(run())
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(event["requestURI"], event["stage"]) for event in events] == [
        ("/livez", "RequestReceived"),
        ("/livez", "ResponseComplete"),
    ]


def test_without_a_policy_file_the_level_decides() -> None:
    (rule,) = read_policy(ApiOptions(audit_level="Request")).rules
    assert rule.level is Level.REQUEST


def test_without_options_there_are_no_logs() -> None:
    with open_access_log(ApiOptions()) as log:
        assert log is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: &x [1]\nb: *x\n", "--audit-policy-file", id="what is no YAML of ours"),
        pytest.param("kind: Policy\n", "not a Policy of audit.k8s.io/v1", id="another document"),
        pytest.param(None, "give a file that can be read", id="no file"),
    ],
)
def test_a_policy_that_cannot_be_read_is_refused_with_the_mend(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "policy.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OperationalError) as raised:
        read_policy(ApiOptions(audit_policy_file=path))
    assert message in str(raised.value)


def test_a_log_that_cannot_be_written_is_refused_with_the_mend(tmp_path: Path) -> None:
    options = ApiOptions(access_log=str(tmp_path / "no" / "log"))
    with pytest.raises(OperationalError) as raised, open_access_log(options):
        pass
    assert "--access-log" in str(raised.value) and "or -" in str(raised.value)


def test_connections_leave_descriptors_for_everything_else() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        limits = make_connection_limits()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft > 300, "it takes what it may"
        assert limits.connections + 256 <= soft
        assert limits.connections_per_source <= limits.connections // 2 or limits.connections == 1
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
