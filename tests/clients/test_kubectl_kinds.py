"""Every verb of kubectl that takes any kind, with every kind that is served: one command each over all samples.

Rule: spec "api-machinery" §3.6, §13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from seaway.testing.fixture import Seaway
from seaway.testing.server import SeawayServer
from tests.clients.kubectl import Done, Kubectl, get_name, get_version
from tests.clients.record import Record
from tests.clients.samples import Sample, dump, make_samples

REMOVED = "kubectl 1.20 asks for v1beta1, which Kubernetes 1.25 removed"
ALPHA = "it is described from v1alpha1, which is not served"
BETA = "it is described from v1beta1, which is not served"
KNOWN: Mapping[tuple[str, str], str] = {
    ("replace", "Job"): "as in Kubernetes: its selector was generated, and cannot change",
}
if get_version() < (1, 21):
    KNOWN = {**KNOWN, **{("describe", kind): REMOVED for kind in ("CronJob", "EndpointSlice", "PodDisruptionBudget")}}
if (1, 27) <= get_version() < (1, 31):
    KNOWN = {**KNOWN, ("describe", "IPAddress"): ALPHA}
if (1, 29) <= get_version() < (1, 31):
    KNOWN = {**KNOWN, ("describe", "ServiceCIDR"): ALPHA}
if (1, 31) <= get_version() < (1, 33):
    KNOWN = {**KNOWN, **{("describe", kind): BETA for kind in ("IPAddress", "ServiceCIDR")}}
"""(verb, kind): why it does not work. What works after all fails the test."""
PROCESSES = 4
COLOUR = "tests.example.com/colour"


class Kinds:
    """A namespace with a sample of every kind, and the file that they came from."""

    def __init__(self, kubectl: Kubectl, folder: Path, record: Record) -> None:
        self.kubectl = kubectl
        self.samples = make_samples(kubectl.seaway.namespace)
        self.file = str(dump(self.samples, folder / "kinds.yaml"))
        self._record = record

    def judge(self, verb: str, is_done: Callable[[Sample], bool], done: Done | None = None) -> None:
        """Note each kind: done, or not for a known reason. Anything else fails."""
        wrong = {}
        for sample in self.samples:
            works, reason = is_done(sample), KNOWN.get((verb, sample.kind))
            if works is (reason is not None):
                wrong[sample.kind] = "works, but is said not to" if works else "does not work"
            self._record.note(get_name(), verb, sample.kind, reason or "yes")
        assert wrong == {}, (done.stdout + done.stderr)[-6000:] if done is not None else ""

    def says(self, verb: str, word: str, done: Done) -> None:
        """A line per object: `service/sample labeled`."""
        lines = set(done.lines)
        self.judge(verb, lambda sample: f"{sample.printed} {word}" in lines, done)

    def annotations(self) -> dict[str, str]:
        """COLOUR of each object, by its printed name; objects are asked for through kubectl."""
        items = self.kubectl("get", "-f", self.file, "-o", "json").json["items"]
        by_key = {(o["apiVersion"], o["kind"], o["metadata"]["name"]): o for o in items}
        found = {}
        for sample in self.samples:
            obj = by_key.get((sample.resource.api_version, sample.resource.kind, sample.name), {})
            found[sample.printed] = obj.get("metadata", {}).get("annotations", {}).get(COLOUR, "")
        return found


@pytest.fixture(scope="module")
def kinds(
    seaway_server: SeawayServer, kubectl_home: Path, tmp_path_factory: pytest.TempPathFactory, record: Record
) -> Iterator[Kinds]:
    with seaway_server.open_namespace("kinds") as seaway:
        kubectl = Kubectl(seaway, kubectl_home, seaway.kubeconfig)
        kinds = Kinds(kubectl, tmp_path_factory.mktemp("kinds"), record)
        kinds.says("create", "created", kubectl("create", "-f", kinds.file, "--save-config", code=None))
        yield kinds
        _delete_rest(seaway, kinds.samples)


def _delete_rest(seaway: Seaway, samples: list[Sample]) -> None:
    for sample in samples:
        if not sample.resource.namespaced:
            name = (
                f"{sample.resource.plural}.{sample.resource.group}" if sample.resource.group else sample.resource.plural
            )
            if any(obj["metadata"]["name"] == sample.name for obj in seaway.list(name)):
                seaway.delete(name, sample.name, force=sample.kind == "Pod")


def test_get_prints_a_table(kinds: Kinds) -> None:
    """Tables of several kinds, apart by empty lines, in the order asked for; Events begin with another column."""
    done = kinds.kubectl("get", "-f", kinds.file)
    tables = [table.splitlines() for table in done.stdout.split("\n\n")]
    assert len(tables) == len(kinds.samples), done.stdout
    shown = {sample.kind: table for sample, table in zip(kinds.samples, tables, strict=True)}

    def is_shown(sample: Sample) -> bool:
        head, *rows = shown[sample.kind]
        wanted = f"service/{sample.obj['metadata'].get('name')}" if head.startswith("LAST SEEN") else sample.printed
        return (
            head.split()[0] in ("NAME", "LAST")
            and len(rows) == 1
            and (wanted in rows[0] or "service/sample" in rows[0])
        )

    kinds.judge("get", is_shown, done)


def test_get_as_json_and_names(kinds: Kinds) -> None:
    done = kinds.kubectl("get", "-f", kinds.file, "-o", "name")
    kinds.judge("get -o name", lambda sample: sample.printed in done.lines, done)
    items = kinds.kubectl("get", "-f", kinds.file, "-o", "json").json["items"]
    seen = {(o["apiVersion"], o["kind"], o["metadata"]["name"]) for o in items}
    kinds.judge("get -o json", lambda s: (s.resource.api_version, s.resource.kind, s.name) in seen)


def test_describe(kinds: Kinds) -> None:
    def describe(sample: Sample) -> bool:
        shown = kinds.kubectl("describe", sample.typed, sample.name, code=None)
        return shown.code == 0 and shown.lines[0].split() == ["Name:", sample.name]

    kinds.judge("describe", describe)


def test_label_and_annotate(kinds: Kinds) -> None:
    kinds.says("label", "labeled", kinds.kubectl("label", "-f", kinds.file, "tier=front", code=None))
    word = "annotate" if get_version() == (1, 27) else "annotated"
    kinds.says("annotate", word, kinds.kubectl("annotate", "-f", kinds.file, f"{COLOUR}=red", code=None))
    assert set(kinds.annotations().values()) == {"red"}


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("strategic", '{"metadata":{"annotations":{"COLOUR":"strategic"}}}'),
        ("merge", '{"metadata":{"annotations":{"COLOUR":"merge"}}}'),
        ("json", '[{"op":"add","path":"/metadata/annotations","value":{"COLOUR":"json"}}]'),
    ],
)
def test_patch(kinds: Kinds, kind: str, patch: str) -> None:
    done = kinds.kubectl("patch", "-f", kinds.file, f"--type={kind}", "-p", patch.replace("COLOUR", COLOUR), code=None)
    kinds.says(f"patch --type={kind}", "patched", done)
    assert set(kinds.annotations().values()) == {kind}


def test_edit(kinds: Kinds) -> None:
    kinds.kubectl("annotate", "-f", kinds.file, f"{COLOUR}=red", "--overwrite")
    editor = f"sed -i s#{COLOUR}:.*#{COLOUR}:\\ edited#"
    done = kinds.kubectl("edit", "-f", kinds.file, code=None, KUBE_EDITOR=editor)
    kinds.says("edit", "edited", done)


def test_apply_diff_and_replace(kinds: Kinds, tmp_path: Path) -> None:
    kubectl = kinds.kubectl
    kinds.says("replace", "replaced", kubectl("replace", "-f", kinds.file, "--save-config", code=None))
    for sample in kinds.samples:
        sample.obj["metadata"].setdefault("labels", {})["stage"] = "test"
    changed = str(dump(kinds.samples, tmp_path / "changed.yaml"))
    shown = kubectl("diff", "-f", changed, code=1)
    kinds.judge("diff", lambda sample: shown.stdout.count("+    stage: test") == len(kinds.samples), shown)
    kinds.says("apply --dry-run=server", "configured (server dry run)",
               kubectl("apply", "-f", changed, "--dry-run=server", code=None))  # fmt: skip
    kinds.says("apply", "configured", kubectl("apply", "-f", changed, code=None))
    again = kubectl("apply", "-f", changed, code=None)
    # A kubectl that knows policy/v1 sends its selector (patch strategy `replace`) whether it has changed or not. One
    # that does not know batch/v1's CronJob takes a list whose items have defaults as changed.
    resent = "cronjob.batch" if get_version() < (1, 21) else "poddisruptionbudget.policy"
    changed_again = {line for line in again.lines if not line.endswith(" unchanged")}
    assert changed_again <= {f"{resent}/sample configured"}, again.stdout
    assert kubectl("diff", "-f", changed, code=0).stdout == ""


def test_apply_on_the_server(kinds: Kinds) -> None:
    arguments = ("apply", "--server-side", "--force-conflicts", "-f", kinds.file)
    kinds.says("apply --server-side", "serverside-applied", kinds.kubectl(*arguments, code=None))


def test_explain(kinds: Kinds) -> None:
    def explain(sample: Sample) -> bool:
        resource = sample.resource
        words = [resource.plural, f"--api-version={resource.api_version}"]
        shown = kinds.kubectl("explain", *words, code=None).stdout
        return f"KIND:{' ' * 5}{resource.kind}" in shown.replace("KIND:       ", "KIND:     ") and "metadata" in shown

    kinds.judge("explain", explain)


def test_delete_waits_until_all_are_gone(seaway: Seaway, kubectl_home: Path, tmp_path: Path, record: Record) -> None:
    """In several processes: one that waits asks five times a second. A ServiceCIDR drains for ten seconds first."""
    kubectl = Kubectl(seaway, kubectl_home, seaway.kubeconfig)
    kinds = Kinds(kubectl, tmp_path, record)
    for sample in kinds.samples:
        if sample.kind == "IPAddress":
            sample.obj["metadata"]["name"] = "10.96.200.201"
    file = str(dump(kinds.samples, tmp_path / "kinds.yaml"))
    kubectl("create", "-f", file)
    draining = [sample for sample in kinds.samples if sample.kind == "ServiceCIDR"]
    rest = [sample for sample in kinds.samples if sample.kind != "ServiceCIDR"]
    parts = [rest[begin::PROCESSES] for begin in range(PROCESSES)]
    files = [str(dump(part, tmp_path / f"part-{number}.yaml")) for number, part in enumerate(parts)]
    commands = [("delete", "-f", part) for part in files]
    commands.append(("delete", "-f", str(dump(draining, tmp_path / "draining.yaml")), "--wait=false"))
    with ThreadPoolExecutor() as pool:
        ends = list(pool.map(lambda command: kubectl(*command, code=None), commands))
    done = Done("".join(end.stdout for end in ends), "".join(end.stderr for end in ends), max(end.code for end in ends))
    lines = {line.removesuffix(f" from {seaway.namespace} namespace") for line in done.lines}

    def is_deleted(sample: Sample) -> bool:
        group, _, name = sample.printed.partition("/")
        return f'{group} "{name}" deleted' in lines

    kinds.judge("delete", is_deleted, done)
    for part in files:
        assert kubectl("get", "-f", part, "--ignore-not-found", "-o", "name").stdout == ""
