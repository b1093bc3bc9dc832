"""Rule: issue "userspace data plane", 4 (Pods without namespaces): paths of a container that has no root of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.runtime.plain.places import (
    choose_working_directory,
    find_nested,
    make_base_environment,
    place_in,
)

ROOT = Path("/data/0.root")


@given(st.text(alphabet="ab./ ", max_size=30))
def test_no_path_leads_out(path: str) -> None:
    assert place_in(ROOT, path).is_relative_to(ROOT) and ".." not in place_in(ROOT, path).parts


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        pytest.param(("/a", "/b", "/ab"), None, id="paths beside each other"),
        pytest.param(("/a/b", "/a"), ("/a/b", "/a"), id="one in another"),
        pytest.param(("/a/b/c", "/a/"), ("/a/b/c", "/a"), id="far in another, with a slash behind"),
        pytest.param(("/", "/a"), ("/a", "/"), id="the root holds all"),
    ],
)
def test_mounts_in_mounts(paths: tuple[str, ...], found: tuple[str, str] | None) -> None:
    assert find_nested(paths) == found


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        pytest.param("", "/data/0.root", id="none: the run's own"),
        pytest.param("/srv/app", "/srv/app", id="one of the host"),
        pytest.param("/work", "/data/0.root/work", id="a mount"),
        pytest.param("/work/in", "/data/0.root/work/in", id="below a mount"),
        pytest.param("/workshop", "/workshop", id="a name that only begins like a mount's"),
    ],
)
def test_the_working_directory(wanted: str, chosen: str) -> None:
    assert choose_working_directory(ROOT, wanted, ("/work",)) == chosen


def test_the_path_is_the_agents_and_python_is_on_it() -> None:
    found = make_base_environment(ROOT, hostname="h", path="/usr/bin:/bin", python_bin="/opt/py/bin")
    assert found == {"PATH": "/usr/bin:/bin:/opt/py/bin", "HOSTNAME": "h", "HOME": str(ROOT), "TMPDIR": f"{ROOT}/tmp"}
    assert make_base_environment(ROOT, hostname="h", path="/usr/bin", python_bin="/usr/bin")["PATH"] == "/usr/bin"
