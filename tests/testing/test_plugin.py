"""The plugin in projects of its users: pytest-asyncio, anyio, xdist, strict warnings; and what it costs others."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points
from pathlib import Path

import pytest

STRICT = """
[pytest]
filterwarnings = error
addopts = --strict-markers --strict-config -p no:cacheprovider
"""
HEAVY = ("aiohttp", "cryptography", "uvloop", "msgspec", "yaml", "ssl", "seaway.apiserver", "seaway.testing.server")


def run_pytest(folder: Path, source: str, *arguments: str, ini: str = STRICT, fails: bool = False) -> str:
    """What pytest printed over a project with that one module and the plugin, by the name of its entry point.

    Others are named by the test: those that this project's own tests need are slow to load.
    """
    (folder / "pytest.ini").write_text(ini)
    (folder / "test_operator.py").write_text(textwrap.dedent(source))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "seaway", *arguments, str(folder)]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=folder, check=False, env=environment
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout


def test_the_plugin_brings_nothing_heavy_into_a_run_that_does_not_use_it() -> None:
    code = f"import seaway.testing.plugin, sys; print([n for n in {HEAVY!r} if n in sys.modules and n not in before])"
    program = f"import sys, pytest; before = set(sys.modules); {code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_server_per_session_and_a_namespace_per_test(tmp_path: Path) -> None:
    run_pytest(
        tmp_path,
        """
        import pytest

        SEEN = []

        @pytest.mark.parametrize("number", range(3))
        def test_shared(seaway, number):
            assert seaway.list("services") == []
            seaway.make_service("web")
            SEEN.append((seaway.url, seaway.namespace))

        def test_seen(seaway):
            assert len({url for url, _ in SEEN}) == 1
            assert len({namespace for _, namespace in SEEN}) == 3

        @pytest.mark.seaway(server="test")
        def test_own(seaway):
            assert seaway.url not in {url for url, _ in SEEN}
        """,
    )


def test_a_marker_asks_for_traffic(tmp_path: Path) -> None:
    run_pytest(
        tmp_path,
        """
        import socket, sys
        import pytest

        PROGRAM = (
            "import os, socket; s = socket.create_server((os.environ['POD_IP'], 8080))\\n"
            "while True: s.accept()[0].close()"
        )

        @pytest.mark.seaway(traffic=True)
        def test_shared(seaway):
            seaway.make_service("web", ports=[{"port": 80, "targetPort": 8080}])
            seaway.run_pod("web-1", [sys.executable, "-c", PROGRAM], port=8080)
            with socket.create_connection(seaway.address_of("svc/web"), timeout=10) as client:
                assert client.recv(1) == b""

        @pytest.mark.seaway(server="test", traffic=True)
        def test_own(seaway):
            assert seaway.server.traffic

        def test_none(seaway):
            assert not seaway.server.has_traffic
        """,
    )


@pytest.mark.parametrize("server", ["session", "module", "test"])
def test_after_the_run_no_thread_no_file_and_no_socket_is_left(tmp_path: Path, server: str) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    project = tmp_path / "project"
    project.mkdir()
    (project / "conftest.py").write_text(
        textwrap.dedent(
            f"""
            import os, tempfile, threading
            tempfile.tempdir = {str(temporary)!r}

            def sockets():
                links = []
                for name in os.listdir("/proc/self/fd"):
                    try:
                        links.append(os.readlink(f"/proc/self/fd/{{name}}"))
                    except OSError:
                        continue
                return [link for link in links if link.startswith("socket:")]

            def pytest_sessionstart(session):
                session.before = (threading.enumerate(), len(sockets()))

            def pytest_unconfigure(config):
                print("threads", [t.name for t in threading.enumerate() if t is not threading.main_thread()])
                print("sockets", len(sockets()))
                print("files", os.listdir({str(temporary)!r}))
            """
        )
    )
    source = f"""
        import pytest
        pytestmark = pytest.mark.seaway(server={server!r})

        def test_one(seaway):
            seaway.make_service("web")
            seaway.make_pod("web-1", ready=True)
            seaway.wait_endpoints("web")
        """
    printed = run_pytest(project, source, "-s")
    assert "threads []" in printed
    assert "files []" in printed
    assert "sockets 0" in printed


def test_async_tests_of_pytest_asyncio(tmp_path: Path) -> None:
    run_pytest(
        tmp_path,
        """
        import asyncio

        async def test_awaited(async_seaway):
            await async_seaway.make_service("web")
            made = await asyncio.gather(*(async_seaway.make_pod(f"web-{n}", ready=True) for n in range(5)))
            assert len(await async_seaway.wait_endpoints("web", 5)) == len(made)

        async def test_sync_form_in_a_thread(seaway):
            await asyncio.to_thread(seaway.make_service, "web")
        """,
        "-p",
        "asyncio",
        ini=STRICT + "asyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n",
    )


def test_async_tests_of_anyio(tmp_path: Path) -> None:
    run_pytest(
        tmp_path,
        """
        import pytest
        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def test_awaited(async_seaway, seaway):
            await async_seaway.make_service("web")
            assert async_seaway.namespace == seaway.namespace
            assert await async_seaway.get("service", "web")
        """,
        "-p",
        "anyio",
    )


def test_asyncio_run_in_a_plain_test(tmp_path: Path) -> None:
    run_pytest(
        tmp_path,
        """
        import asyncio

        def test_plain(async_seaway):
            assert asyncio.run(async_seaway.make_service("web"))["kind"] == "Service"
        """,
    )


def test_each_worker_of_xdist_has_a_server(tmp_path: Path) -> None:
    printed = run_pytest(
        tmp_path,
        """
        import os, pathlib, pytest

        @pytest.mark.parametrize("number", range(6))
        def test_shared(seaway, number):
            seaway.make_service("web")
            folder = pathlib.Path(__file__).parent
            (folder / f"{os.environ['PYTEST_XDIST_WORKER']}-{seaway.server.port}").touch()
        """,
        "-p",
        "xdist",
        "-n",
        "2",
        "--dist",
        "each",
    )
    assert "12 passed" in printed
    workers = {path.name.split("-")[0]: path.name for path in tmp_path.glob("gw*")}
    assert len(workers) == len(list(tmp_path.glob("gw*"))) == 2


def test_options_are_the_projects_own(tmp_path: Path) -> None:
    run_pytest(
        tmp_path,
        """
        import pytest
        from seaway.apiserver.config import ServerConfig

        @pytest.fixture(scope="session")
        def seaway_options():
            return {"config": ServerConfig(service_cidrs=("10.111.0.0/24",))}

        def test_configured(seaway):
            assert seaway.make_service("web")["spec"]["clusterIP"].startswith("10.111.0.")
        """,
    )


def test_a_server_that_is_no_word_of_the_marker_is_told(tmp_path: Path) -> None:
    printed = run_pytest(
        tmp_path,
        """
        import pytest

        @pytest.mark.seaway(server="mine")
        def test_it(seaway):
            pass
        """,
        fails=True,
    )
    assert "server='mine' found, one of ['module', 'session', 'test'] allowed" in printed


def test_pytest_finds_the_plugin_by_itself() -> None:
    (found,) = [entry for entry in entry_points(group="pytest11") if entry.name == "seaway"]
    assert found.value == "seaway.testing.plugin"
    assert found.load()
