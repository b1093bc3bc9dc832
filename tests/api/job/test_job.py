"""Rule: upstream's Job defaults, strategy and validation; spec "api-machinery" §6.2."""

from __future__ import annotations

import copy
from typing import Any

from seaway.api.registry import JOBS
from seaway.testing.builders import merge
from tests.api.kindtable import Case, cases
from tests.api.manifests import CONTEXT, UID, create_texts, make_stored, update_texts

Json = dict[str, Any]
FAILURE = {"podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}}
CREATE: list[Case] = [
    ("its Pods end", {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}},
     ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"']),
    ("counts are counts", {"spec": {"parallelism": -1, "backoffLimit": -2, "ttlSecondsAfterFinished": -3}},
     ["spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
      "spec.backoffLimit: Invalid value: -2: must be greater than or equal to 0",
      "spec.ttlSecondsAfterFinished: Invalid value: -3: must be greater than or equal to 0"]),
    ("a known mode", {"spec": {"completionMode": "x"}},
     ['spec.completionMode: Unsupported value: "x": supported values: "Indexed", "NonIndexed"']),
    ("an index has an end", {"spec": {"completionMode": "Indexed", "parallelism": 1}},
     ["spec.completions: Required value: when completion mode is Indexed"]),
    ("per index needs indexes", {"spec": {"backoffLimitPerIndex": 1}},
     ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]),
    ("a selector is the server's", {"spec": {"selector": {"matchLabels": {"app": "web"}}}},
     ['spec.selector: Invalid value: {"matchLabels":{"app":"web","batch.kubernetes.io/controller-uid":'
      f'"{UID}"}}}}: `selector` not auto-generated']),
    ("or the client's, who says so",
     {"spec": {"manualSelector": True, "selector": {"matchLabels": {"app": "web"}}}}, []),
    ("then it must be there", {"spec": {"manualSelector": True}}, ["spec.selector: Required value"]),
    ("and choose the template", {"spec": {"manualSelector": True, "selector": {"matchLabels": {"app": "x"}}}},
     ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`']),
    ("a failure policy judges what is not restarted",
     {"spec": {**FAILURE, "template": {"spec": {"restartPolicy": "OnFailure"}}}},
     ['spec.template.spec.restartPolicy: Invalid value: "OnFailure": '
      "only 'Never' is supported when podFailurePolicy is specified"]),
    ("a failure rule is about one thing", {"spec": {"podFailurePolicy": {"rules": [{"action": "Count"}]}}},
     ['spec.podFailurePolicy.rules[0]: Invalid value: {"action":"Count"}: '
      "specifying one of OnExitCodes and OnPodConditions is required"]),
    ("exit codes of failure",
     {"spec": {"podFailurePolicy": {"rules": [{"action": "x", "onExitCodes": {"operator": "In", "values": [1, 0]}}]}}},
     ['spec.podFailurePolicy.rules[0].action: Unsupported value: "x": '
      'supported values: "Count", "FailIndex", "FailJob", "Ignore"',
      "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [1,0]: must be ordered",
      "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: 0: must not be 0 for the In operator"]),
    ("early success is of indexes", {"spec": {"successPolicy": {"rules": [{"succeededCount": 1}]}}},
     ['spec.successPolicy: Invalid value: {"rules":[{"succeededCount":1}]}: requires indexed completion mode']),
    ("and has a rule", {"spec": {"completionMode": "Indexed", "completions": 2, "successPolicy": {"rules": [{}]}}},
     ["spec.successPolicy.rules[0]: Required value: "
      "at least one of succeededCount or succeededIndexes must be specified"]),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(JOBS, **changes) == texts


UPDATE: list[Case] = [
    ("how many run at once is free", {"spec": {"parallelism": 3, "suspend": True, "activeDeadlineSeconds": 1}}, []),
    ("how many are wanted stays", {"spec": {"completions": 3}},
     ["spec.completions: Invalid value: 3: field is immutable"]),
    ("the mode stays", {"spec": {"completionMode": "Indexed"}},
     ['spec.completionMode: Invalid value: "Indexed": field is immutable']),
]  # fmt: skip


@cases(UPDATE)
def test_update(changes: Json, texts: list[str]) -> None:
    assert update_texts(JOBS, changes) == texts


def test_the_template_stays_once_a_pod_was_started() -> None:
    move = {"spec": {"template": {"spec": {"nodeSelector": {"zone": "a"}}}}}
    (text,) = update_texts(JOBS, move)
    assert text.startswith("spec.template: Invalid value: ") and text.endswith(": field is immutable")
    waiting = make_stored(JOBS, spec={"suspend": True})
    assert update_texts(JOBS, move, old=waiting) == []
    begun = {**waiting, "status": {"startTime": "2026-01-01T00:00:00Z"}}
    assert len(update_texts(JOBS, move, old=begun)) == 1


def test_an_indexed_job_grows_by_both_numbers_at_once() -> None:
    old = make_stored(JOBS, spec={"completionMode": "Indexed", "completions": 2, "parallelism": 2})
    assert update_texts(JOBS, {"spec": {"completions": 4, "parallelism": 4}}, old=old) == []
    assert len(update_texts(JOBS, {"spec": {"completions": 4}}, old=old)) == 1


def test_pods_are_found_by_the_uid_of_their_job() -> None:
    stored = make_stored(JOBS)
    assert stored["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": UID}}
    assert stored["spec"]["template"]["metadata"]["labels"] == {
        "app": "web",
        "batch.kubernetes.io/controller-uid": UID,
        "batch.kubernetes.io/job-name": "web",
        "controller-uid": UID,
        "job-name": "web",
    }
    assert stored["metadata"]["labels"] == {"app": "web"}


def test_a_job_without_labels_has_those_of_its_pods_from_the_start() -> None:
    job = make_stored(JOBS, spec={"template": {"metadata": None}})
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]
    assert JOBS.strategy.default(copy.deepcopy(job)) == job


def test_a_status_without_labels_leaves_those_of_the_pods() -> None:
    old = make_stored(JOBS)
    new = copy.deepcopy(old)
    del new["metadata"]["labels"]
    labels = old["spec"]["template"]["metadata"]["labels"]
    assert JOBS.strategy.prepare_status_update(new, old, CONTEXT)["metadata"]["labels"] == labels


def test_defaults() -> None:
    spec = make_stored(JOBS)["spec"]
    assert {key: spec[key] for key in spec if key not in ("template", "selector")} == {
        "parallelism": 1,
        "completions": 1,
        "backoffLimit": 6,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed",
    }
    queue = make_stored(JOBS, spec={"parallelism": 3, **copy.deepcopy(FAILURE)})["spec"]
    assert ("completions" in queue, queue["podReplacementPolicy"]) == (False, "Failed")
    assert queue["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"] == "True"
    per_index = merge(FAILURE, {"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 1})
    assert make_stored(JOBS, spec=per_index)["spec"]["backoffLimit"] == 2**31 - 1


def test_the_number_of_successes_can_be_selected() -> None:
    assert JOBS.strategy.fields({"status": {"succeeded": 2}}) == {"status.successful": "2"}
    assert JOBS.strategy.fields({}) == {"status.successful": "0"}


def test_a_delete_without_a_policy_leaves_the_pods() -> None:
    assert JOBS.strategy.orphans_dependents
