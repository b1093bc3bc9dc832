"""What an OCI runtime is told of a container. Rule: OCI runtime-spec, "config.md", "config-linux.md"; design §12."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seaway.node.runtime.local.rootfs import (
    IMAGE_CAPABILITIES,
    MASKED_PROC,
    PROTECTED_PROC,
    Binding,
    Overlay,
    plan_image_root,
)
from seaway.node.runtime.oci.config import ContainerPlan, make_config
from seaway.node.runtime.oci.seccomp import ENOSYS, EPERM, NAMESPACE_FLAGS, REFUSED, make_filter
from seaway.node.shim.oci import make_process

Json = dict[str, Any]
ROOT = ContainerPlan(capabilities=IMAGE_CAPABILITIES)


def find(config: Json, path: str) -> Any:
    """The value at a path with dots."""
    for name in path.split("."):
        config = config[name]
    return config


@pytest.mark.parametrize(
    ("plan", "path", "wanted"),
    [
        pytest.param(ROOT, "ociVersion", "1.0.2", id="the version is one that crun 1.0 and runc 1.0 know"),
        pytest.param(ROOT, "root", {"path": "rootfs", "readonly": False}, id="the root is in the bundle"),
        pytest.param(ContainerPlan(read_only_root=True), "root.readonly", True, id="a sealed root is read-only"),
        pytest.param(ROOT, "process.cwd", "/", id="a program begins in the root"),
        pytest.param(ContainerPlan(working_dir="/www"), "process.cwd", "/www", id="or where the Pod or image says"),
        pytest.param(
            ContainerPlan(user=1000, group=2000, groups=(3, 4)), "process.user",
            {"uid": 1000, "gid": 2000, "additionalGids": [3, 4]}, id="user, group and additional groups are numbers",
        ),
        pytest.param(ROOT, "process.noNewPrivileges", True, id="nothing is gained by an exec"),
        pytest.param(ROOT, "process.capabilities.ambient", [], id="no capability survives a change of the user"),
        pytest.param(ROOT, "process.capabilities.inheritable", [], id="no file gives one"),
        pytest.param(
            ContainerPlan(capabilities=frozenset(("NET_RAW", "CHOWN"))), "process.capabilities.bounding",
            ["CAP_CHOWN", "CAP_NET_RAW"], id="the bounding set is what the program has",
        ),
        pytest.param(ContainerPlan(user=1), "process.capabilities.effective", [], id="who is not root has none"),
        pytest.param(ROOT, "linux.namespaces", [{"type": "mount"}], id="all other namespaces are the Pod's"),
        pytest.param(ROOT, "linux.maskedPaths", list(MASKED_PROC), id="what tells of the host is masked"),
        pytest.param(ROOT, "linux.readonlyPaths", list(PROTECTED_PROC), id="what steers the host is read-only"),
        pytest.param(
            ContainerPlan(annotations={"b": "2", "a": "1"}), "annotations", {"a": "1", "b": "2"},
            id="annotations are told",
        ),
    ],
)  # fmt: skip
def test_field(plan: ContainerPlan, path: str, wanted: object) -> None:
    assert find(make_config(plan), path) == wanted


@pytest.mark.parametrize("absent", ["hostname", "hooks", "linux.resources", "linux.cgroupsPath", "linux.sysctl"])
def test_what_is_the_pods_or_the_nodes_is_not_named(absent: str) -> None:
    with pytest.raises(KeyError):
        find(make_config(ROOT), absent)


@pytest.mark.parametrize("name", ["args", "env", "terminal"])
def test_the_program_is_said_later(name: str) -> None:
    assert name not in make_config(ROOT)["process"]


@pytest.mark.parametrize(
    ("binding", "options"),
    [
        pytest.param(Binding("/v", "/data"), ["rbind", "rprivate", "rnosuid", "rnodev"],
                     id="a volume brings what is mounted below it"),
        pytest.param(Binding("/v", "/data", read_only=True), ["rbind", "rprivate", "rnosuid", "rnodev", "rro"],
                     id="a read-only volume is so all the way down"),
        pytest.param(Binding("/f", "/etc/hosts", is_file=True), ["rbind", "rprivate", "nosuid", "nodev"],
                     id="nothing is below a file"),
        pytest.param(Binding("/f", "/etc/hosts", True, True), ["rbind", "rprivate", "nosuid", "nodev", "ro"],
                     id="a file may be read-only"),
    ],
)  # fmt: skip
def test_mount(binding: Binding, options: list[str]) -> None:
    mounted = make_config(ContainerPlan(bindings=(binding,)))["mounts"][-1]
    assert mounted == {"destination": binding.path, "type": "bind", "source": binding.source, "options": options}


def test_the_kernels_parts_come_first_and_bindings_keep_their_order() -> None:
    bindings = (Binding("/h", "/etc/hosts", is_file=True), Binding("/a", "/dev/shm"), Binding("/b", "/a/deep"))
    paths = [mount["destination"] for mount in make_config(ContainerPlan(bindings=bindings))["mounts"]]
    assert paths == ["/proc", "/dev", "/dev/pts", "/dev/shm", "/sys", "/etc/hosts", "/dev/shm", "/a/deep"]


@given(st.lists(st.builds(Binding, st.just("/s"), st.sampled_from(["/a", "/a/b", "/etc/hosts"]), st.booleans())))
def test_both_doors_mount_the_same_at_the_same_places(volumes: list[Binding]) -> None:
    """The shim's own plan and the configuration: which file systems and bindings, in which order, and read-only."""
    steps = plan_image_root(Overlay("/l", "/u", "/w"), files=(), volumes=volumes)
    own = [(step["path"], step["read_only"]) for step in steps if step["step"] == "bind" and "read_only" in step]
    mounts = make_config(ContainerPlan(bindings=tuple(sorted(volumes, key=lambda v: (v.path.count("/"), v.path)))))
    told = [(m["destination"], "rro" in m["options"]) for m in mounts["mounts"] if m["type"] == "bind"]
    assert told == own
    kernels = {step.get("path", {"proc": "/proc", "sysfs": "/sys", "devpts": "/dev/pts"}.get(step["step"], ""))
               for step in steps if step["step"] in ("tmpfs", "proc", "sysfs", "devpts")}  # fmt: skip
    assert {m["destination"] for m in mounts["mounts"] if m["type"] != "bind"} == kernels


def test_the_configuration_is_json() -> None:
    assert json.loads(json.dumps(make_config(ROOT))) == make_config(ROOT)


def test_who_is_not_confined_has_no_filter() -> None:
    assert "seccomp" in make_config(ROOT)["linux"]
    assert "seccomp" not in make_config(ContainerPlan(confined=False))["linux"]


@pytest.mark.parametrize(
    ("machine", "wanted"),
    [
        pytest.param("x86_64", ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                     id="calls of 32 bits do not pass beside the filter"),
        pytest.param("aarch64", ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"], id="nor on ARM"),
        pytest.param("riscv64", [], id="another machine has its own calls only"),
    ],
)  # fmt: skip
def test_the_filter_knows_every_way_into_the_kernel(machine: str, wanted: list[str]) -> None:
    assert make_filter(machine)["architectures"] == wanted


def refusals(name: str) -> list[Json]:
    return [rule for rule in make_filter("x86_64")["syscalls"] if name in rule["names"]]


@pytest.mark.parametrize("name", ["mount", "setns", "bpf", "kexec_load", "init_module", "keyctl", "open_by_handle_at"])
def test_what_leads_out_of_a_container_is_refused(name: str) -> None:
    assert [(rule["action"], rule["errnoRet"]) for rule in refusals(name)] == [("SCMP_ACT_ERRNO", EPERM)]


def test_a_namespace_is_made_by_no_flag_of_clone() -> None:
    """Each flag has its own rule; a thread or process without any of them passes."""
    arguments = [rule["args"] for rule in refusals("clone")]
    assert [one["value"] for (one,) in arguments] == list(NAMESPACE_FLAGS)
    assert all(one["value"] == one["valueTwo"] and one["op"] == "SCMP_CMP_MASKED_EQ" for (one,) in arguments)
    assert [rule["errnoRet"] for rule in refusals("clone3")] == [ENOSYS]


def test_no_call_is_refused_twice_and_all_else_passes() -> None:
    names = [name for group in REFUSED.values() for name in group]
    assert len(names) == len(set(names)) and not {"clone", "clone3", "execve", "ptrace", "chroot"} & set(names)
    assert make_filter("x86_64")["defaultAction"] == "SCMP_ACT_ALLOW"


def test_a_program_gets_its_words_variables_and_terminal() -> None:
    process = make_config(ROOT)["process"]
    spec = {"argv": ("sh", "-c", "x"), "environment": {"A": "1", "B": "a=b"}}
    made = make_process(process, spec, has_terminal=True)
    assert (made["args"], made["env"], made["terminal"]) == (["sh", "-c", "x"], ["A=1", "B=a=b"], True)
    assert {key: made[key] for key in process} == process, "the rest is the container's"
