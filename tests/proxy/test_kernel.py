"""What the proxy sets on its host. Rule: spec "proxy" §6.2, §10.1 (oomScoreAdj)."""

from __future__ import annotations

from pathlib import Path

import pytest

from seaway.net.errors import OperationalError
from seaway.proxy.config import ProxyConfig
from seaway.proxy.kernel import FLOW_BUCKETS, FLOW_LIMIT, apply_oom_score, apply_sysctls
from seaway.proxy.run import prepare_host

TIMEOUT = "net/netfilter/nf_conntrack_udp_timeout"


def host(root: Path, *, limit: int | None = 65536, buckets: int | None = 16384, timeout: int | None = 30) -> Path:
    """A /proc and a /sys; None: there is no such file."""
    for name, value in ((f"proc/sys/{FLOW_LIMIT}", limit), (FLOW_BUCKETS, buckets), (f"proc/sys/{TIMEOUT}", timeout)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if value is not None:
            (root / name).write_text(f"{value}\n")
    return root


def found(root: Path, name: str) -> int:
    return int((root / name).read_text())


def test_the_buckets_follow_the_limit_of_flows(tmp_path: Path) -> None:
    root = host(tmp_path)
    assert apply_sysctls({FLOW_LIMIT: 131072}, root=root) == []
    assert (found(root, f"proc/sys/{FLOW_LIMIT}"), found(root, FLOW_BUCKETS)) == (131072, 32768)


def test_buckets_are_never_taken_away(tmp_path: Path) -> None:
    root = host(tmp_path, buckets=99999)
    assert apply_sysctls({FLOW_LIMIT: 131072}, root=root) == []
    assert found(root, FLOW_BUCKETS) == 99999


def test_nobody_looks_at_the_buckets_when_the_limit_is_left_alone(tmp_path: Path) -> None:
    root = host(tmp_path, buckets=None)
    assert apply_sysctls({TIMEOUT: 60}, root=root) == []
    assert found(root, f"proc/sys/{TIMEOUT}") == 60


REFUSED = {
    "buckets that cannot be read": ({"buckets": None}, "nf_conntrack hashsize=32768: No such file or directory"),
    "a limit that cannot be read": (
        {"limit": None},
        "net.netfilter.nf_conntrack_max=131072: No such file or directory",
    ),
    "a time that cannot be read": (
        {"timeout": None},
        "net.netfilter.nf_conntrack_udp_timeout=60: No such file or directory",
    ),
}


@pytest.mark.parametrize(("missing", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_set_is_told_and_the_rest_is_set(tmp_path: Path, missing: dict[str, None], text: str) -> None:
    root = host(tmp_path, **missing)
    assert apply_sysctls({FLOW_LIMIT: 131072, TIMEOUT: 60}, root=root) == [text]
    there = {"limit": f"proc/sys/{FLOW_LIMIT}", "buckets": FLOW_BUCKETS, "timeout": f"proc/sys/{TIMEOUT}"}
    wanted = {"limit": 131072, "buckets": 32768, "timeout": 60}
    for name in there.keys() - missing.keys():
        assert found(root, there[name]) == wanted[name]


def test_what_is_as_it_should_be_is_not_written(tmp_path: Path) -> None:
    """So that a proxy without root's rights starts after one with `--init-only`."""
    root = host(tmp_path, limit=131072, buckets=32768, timeout=60)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    assert apply_sysctls({FLOW_LIMIT: 131072, TIMEOUT: 60}, root=root) == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


ABSENT = {"net/netfilter/no-such-switch": 1}


def test_what_must_be_set_and_cannot_be_ends_the_proxy() -> None:
    config = ProxyConfig(node_name="n", sysctls=ABSENT, sysctls_must_do=True)
    with pytest.raises(OperationalError) as caught:
        prepare_host(config)
    assert str(caught.value) == (
        "could not set conntrack parameters from kube-proxy configuration:"
        " net.netfilter.no-such-switch=1: No such file or directory"
    )


def test_what_nobody_asked_for_and_cannot_be_set_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    prepare_host(ProxyConfig(node_name="n", sysctls=ABSENT))
    assert [record.getMessage() for record in caplog.records] == [
        "sysctl=net.netfilter.no-such-switch=1: No such file or directory"
    ]


def test_the_kernel_is_told_how_late_to_end_the_process(tmp_path: Path) -> None:
    file = tmp_path / "proc/self/oom_score_adj"
    assert apply_oom_score(-999, root=tmp_path) == "No such file or directory"
    file.parent.mkdir(parents=True)
    assert apply_oom_score(-999, root=tmp_path) == ""
    assert file.read_text() == "-999"
