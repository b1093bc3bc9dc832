"""Records what the tests of this folder find, for docs/compatibility.md; `--rewrite` writes the page anew.

`@pytest.mark.covers(client, verb, *kinds)` says what a test proves: it passes, or is expected to fail with a reason,
which the page then shows.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from seaway.testing.fixture import Seaway
from tests.clients.kubectl import Kubectl, find_kubectl
from tests.clients.record import EVERY, Record

FOLDER = Path(__file__).parent
RECORD = pytest.StashKey[Record]()
LAST = "test_page.py"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "covers(client, verb, *kinds): what the test proves, for docs/compatibility.md")
    config.stash[RECORD] = Record()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The page is judged when everything else is known."""
    items.sort(key=lambda item: item.path.name == LAST and item.path.parent == FOLDER)
    modules = {item.path.name for item in items if item.path.parent == FOLDER}
    chosen = bool(config.option.keyword or config.option.markexpr or any("::" in str(a) for a in config.args))
    config.stash[RECORD].complete = not chosen and modules == {path.name for path in FOLDER.glob("test_*.py")}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    record = item.config.stash[RECORD]
    if report.failed:
        record.failures += FOLDER in item.path.parents
    for marker in item.iter_markers("covers"):
        client, verb, *kinds = marker.args
        if report.skipped and not hasattr(report, "wasxfail"):
            record.skipped.add(client)
        if report.when == "call" and (report.passed or hasattr(report, "wasxfail")):
            for kind in kinds or (EVERY,):
                record.note(client, verb, kind, getattr(report, "wasxfail", "yes"))
    return report


@pytest.fixture(scope="session")
def record(pytestconfig: pytest.Config) -> Record:
    """Where tests of many kinds note each of them."""
    return pytestconfig.stash[RECORD]


@pytest.fixture(scope="session")
def kubectl_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where kubectl keeps what it has learned of servers; skips aloud where there is no kubectl."""
    if find_kubectl() is None:
        pytest.skip("kubectl is not installed; install the package kubernetes-client")
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def kubectl(seaway: Seaway, kubectl_home: Path) -> Kubectl:
    """kubectl as an administrator, in the test's namespace."""
    return Kubectl(seaway, kubectl_home, seaway.kubeconfig)
