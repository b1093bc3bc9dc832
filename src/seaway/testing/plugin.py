"""The pytest plugin: fixtures `seaway` and `async_seaway`. Light: pytest imports it in every run of every project.

| fixture | scope | what |
|---|---|---|
| `seaway` | test | a `Seaway` in a namespace of its own, on the session's server |
| `async_seaway` | test | the same as an `AsyncSeaway`; both in one test are the same namespace |
| `seaway_factory` | test | makes whole servers, which end with the test |
| `seaway_server` | session | the server that tests share (one per worker of pytest-xdist) |
| `seaway_options` | session | override it: the keywords of `SeawayServer` for all of these |

`@pytest.mark.seaway(server="test")` gives a test, a class or a module (as `pytestmark`) a whole server per test,
`server="module"` one per module. `@pytest.mark.seaway(traffic=True)` gives one whose Pods run and whose Services are
served, shared by all tests that ask so, or per test or module likewise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from seaway.testing.fixture import AsyncSeaway, Seaway
    from seaway.testing.server import SeawayServer

_SERVERS = {
    (False, "session"): "seaway_server",
    (False, "module"): "_seaway_module_server",
    (False, "test"): "_seaway_test_server",
    (True, "session"): "_seaway_traffic_server",
    (True, "module"): "_seaway_module_traffic_server",
    (True, "test"): "_seaway_test_traffic_server",
}
_SCOPES = ("module", "session", "test")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, for projects that allow none but known ones."""
    text = (
        "seaway(server, traffic): which server the test uses: 'session' (shared, the default), 'module' or 'test'; "
        "traffic=True: one whose Pods run and whose Services are served"
    )
    config.addinivalue_line("markers", text)


@pytest.fixture(scope="session")
def seaway_options() -> dict[str, Any]:
    """Keywords for `SeawayServer`; override it to change them."""
    return {}


@pytest.fixture(scope="session")
def seaway_server(seaway_options: dict[str, Any]) -> Iterator[SeawayServer]:
    """The server that the tests of a session share."""
    with _run(seaway_options) as server:
        yield server


@pytest.fixture(scope="module")
def _seaway_module_server(seaway_options: dict[str, Any]) -> Iterator[SeawayServer]:
    with _run(seaway_options) as server:
        yield server


@pytest.fixture
def _seaway_test_server(seaway_options: dict[str, Any]) -> Iterator[SeawayServer]:
    with _run(seaway_options) as server:
        yield server


@pytest.fixture(scope="session")
def _seaway_traffic_server(seaway_options: dict[str, Any]) -> Iterator[SeawayServer]:
    with _run({**seaway_options, "traffic": True}) as server:
        yield server


@pytest.fixture(scope="module")
def _seaway_module_traffic_server(seaway_options: dict[str, Any]) -> Iterator[SeawayServer]:
    with _run({**seaway_options, "traffic": True}) as server:
        yield server


@pytest.fixture
def _seaway_test_traffic_server(seaway_options: dict[str, Any]) -> Iterator[SeawayServer]:
    with _run({**seaway_options, "traffic": True}) as server:
        yield server


@pytest.fixture
def seaway(request: pytest.FixtureRequest) -> Iterator[Seaway]:
    """A Seaway in a namespace of its own: `seaway.namespace`, `seaway.kubeconfig`, and helpers."""
    marker = request.node.get_closest_marker("seaway")
    given = marker.kwargs if marker is not None else {}
    chosen, has_traffic = given.get("server", "session"), bool(given.get("traffic", False))
    if chosen not in _SCOPES:
        raise pytest.UsageError(f"mark seaway: server={chosen!r} found, one of {list(_SCOPES)} allowed")
    server: SeawayServer = request.getfixturevalue(_SERVERS[has_traffic, chosen])
    with server.open_namespace(request.node.name) as opened:
        yield opened


@pytest.fixture
def async_seaway(seaway: Seaway) -> AsyncSeaway:
    """The same, to be awaited: on the loop of pytest-asyncio, anyio or `asyncio.run`."""
    return seaway.as_async()


@pytest.fixture
def seaway_factory(seaway_options: dict[str, Any]) -> Iterator[Callable[..., Seaway]]:
    """`seaway_factory(**options)` starts a whole server and gives a Seaway in its namespace `default`."""
    from seaway.testing.server import SeawayServer

    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(SeawayServer(**{**seaway_options, **options}))


@contextlib.contextmanager
def _run(options: dict[str, Any]) -> Iterator[SeawayServer]:
    from seaway.testing.server import SeawayServer  # brings the API server; only who uses it pays

    server = SeawayServer(**options).start()
    try:
        yield server
    finally:
        server.close()
