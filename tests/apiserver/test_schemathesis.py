"""The server against its own OpenAPI: what the document lets a client ask is answered as the document says.

SEAWAY_SCHEMATHESIS_EXAMPLES=50 asks every operation that often; the short run asks a few operations of each document.
Rule: issue "robustness" (schemathesis on its own OpenAPI), spec "api-machinery" §3.4, §3.5.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from seaway.api.machinery.http import Request, Response
from seaway.api.registry import RESOURCES
from seaway.apiserver.handler import ApiServer
from seaway.apiserver.run import ServerConfig, open_server
from seaway.store.memory import MemoryStore
from tests.apiserver.conversation import ManualEffects
from tests.fuzz.oracle import Complaint, judge
from tests.fuzz.steps import WHO, Send

EXAMPLES = int(os.environ.get("SEAWAY_SCHEMATHESIS_EXAMPLES", "0"))
SHORT_OPERATIONS = 7
KINDS = Path(__file__).parents[1] / "wire" / "kinds"
DOCUMENTS = ("/openapi/v2", *sorted({f"/openapi/v3{resource.path_prefix}" for resource in RESOURCES}))
Environment = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Gateway:
    """The server in this process, as the WSGI application that schemathesis calls. Every answer is judged."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.effects = ManualEffects()
        self.complaints: list[Complaint] = []
        self.answers: Counter[tuple[str, int]] = Counter()
        self._store = MemoryStore()
        self._server = self.loop.run_until_complete(self._open())

    async def _open(self) -> ApiServer:
        return await open_server(ServerConfig(), self._store, effects=self.effects, runs_loops=False)

    def close(self) -> None:
        self.loop.run_until_complete(self._server.close())
        self.loop.run_until_complete(self._store.close())
        self.loop.close()

    def ask(self, request: Request) -> Response:
        """The judged answer."""
        response = self.loop.run_until_complete(self._server.handle(request, WHO["admin"]))
        if isinstance(response.body, bytes):
            self.complaints += judge(Send("admin", request), response)[1]
        self.complaints += [Complaint("unexpected", repr(error)) for error in self.effects.reported]
        self.effects.reported.clear()
        self.answers[(request.method, response.status)] += 1
        return response

    def __call__(self, environment: Environment, start_response: StartResponse) -> Iterable[bytes]:
        headers = {
            key.removeprefix("HTTP_").lower().replace("_", "-"): value
            for key, value in environment.items()
            if key.startswith("HTTP_") or key == "CONTENT_TYPE"
        }
        body = environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
        query = tuple(parse_qsl(environment.get("QUERY_STRING", ""), keep_blank_values=True))
        path = environment["REQUEST_URI"].partition("?")[0]
        response = self.ask(Request(environment["REQUEST_METHOD"], path, query, headers, body))
        start_response(f"{response.status} {HTTPStatus(response.status).phrase}", list(response.headers))
        return [response.body] if isinstance(response.body, bytes) else []


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    for resource in RESOURCES:  # so that there is something to find
        path = KINDS / f"{resource.plural}.json"
        if path.exists():
            obj = json.loads(path.read_text())
            for key in ("uid", "resourceVersion"):
                obj["metadata"].pop(key, None)
            gateway.ask(Request("POST", resource.path("default"), (), {}, json.dumps(obj).encode()))
    yield gateway
    gateway.close()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_the_document_allows_is_answered(gateway: Gateway, document: str) -> None:
    schema = schemathesis.openapi.from_wsgi(document, gateway)
    operations = [found.ok() for found in schema.get_all_operations()]
    assert operations
    stride = 1 if EXAMPLES else len(operations) // SHORT_OPERATIONS | 1  # odd: a collection and its item have six
    for operation in operations[::stride]:
        _ask(gateway, operation)
    assert gateway.complaints == []


def _ask(gateway: Gateway, operation: Any) -> None:
    @settings(
        max_examples=EXAMPLES or 2,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(), st.booleans())
    def ask(case: Any, is_known: bool) -> None:
        if is_known:
            wanted = {"namespace": "default", "name": "web"}
            case.path_parameters = {key: wanted.get(key, value) for key, value in case.path_parameters.items()}
            if isinstance(case.body, dict):
                case.body["metadata"] = {"name": "web"}
                for key in ("kind", "apiVersion"):
                    case.body.pop(key, None)
        response = case.call()
        assert response.status_code < 500 or not gateway.complaints, gateway.complaints

    ask()


def test_enough_was_found_to_be_a_test(gateway: Gateway) -> None:
    """Runs last: refusals alone would prove little."""
    found = {method for method, status in gateway.answers if status in (200, 201)}
    assert found >= {"GET", "POST", "DELETE"}
