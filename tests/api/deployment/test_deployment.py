"""Rule: spec "controllers" §7.5, "api-machinery" §4.2, §9.1; upstream's Deployment validation."""

from __future__ import annotations

import copy
from typing import Any

from seaway.api.registry import DEPLOYMENTS
from tests.api.kindtable import Case, cases
from tests.api.manifests import CONTEXT, create_texts, make_stored, update_texts

Json = dict[str, Any]
PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
    "regex used for validation is '[0-9]+%')"
)


def rolling(**share: Any) -> Json:
    return {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": share}}}


CREATE: list[Case] = [
    ("a count is not negative", {"spec": {"replicas": -1, "minReadySeconds": -1}},
     ["spec.replicas: Invalid value: -1: must be greater than or equal to 0",
      "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0"]),
    ("the selector chooses something", {"spec": {"selector": {"matchLabels": None}}},
     ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]),
    ("the selector is there", {"spec": {"selector": None}}, ["spec.selector: Required value"]),
    ("the template is chosen", {"spec": {"selector": {"matchLabels": {"app": "other"}}}},
     ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`']),
    ("expressions choose, too",
     {"spec": {"selector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}}},
     ['spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`']),
    ("an expression is complete",
     {"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "In"},
                                                 {"key": "b", "operator": "Exists", "values": ["x"]},
                                                 {"key": "c", "operator": "Gt"}]}}},
     ["spec.selector.matchExpressions[0].values: Required value: "
      "must be specified when `operator` is 'In' or 'NotIn'",
      "spec.selector.matchExpressions[1].values: Forbidden: "
      "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
      'spec.selector.matchExpressions[2].operator: Invalid value: "Gt": not a valid selector operator']),
    ("its Pods run for ever", {"spec": {"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 5}}}},
     ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
      "spec.template.spec.activeDeadlineSeconds: Forbidden: "
      "activeDeadlineSeconds in Deployment is not Supported"]),
    ("the template is judged as a Pod is", {"spec": {"template": {"spec": {"containers": [{"name": "main"}]}}}},
     ["spec.template.spec.containers[0].image: Required value"]),
    ("the template's labels are labels", {"spec": {"template": {"metadata": {"labels": {"a": "-"}}}}},
     ['spec.template.metadata.labels: Invalid value: "-": a valid label must be an empty string or consist of '
      "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
      "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
      "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"]),
    ("a known strategy", {"spec": {"strategy": {"type": "Canary"}}},
     ['spec.strategy.type: Unsupported value: "Canary": supported values: "Recreate", "RollingUpdate"']),
    ("recreating does not roll", {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {}}}},
     ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"]),
    ("rolling moves", rolling(maxUnavailable=0, maxSurge="0%"),
     ["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"]),
    ("shares are counts or percentages", rolling(maxUnavailable="110%", maxSurge="a"),
     ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "110%": must not be greater than 100%',
      f'spec.strategy.rollingUpdate.maxSurge: Invalid value: "a": {PERCENT}']),
    ("more than all may surge", rolling(maxSurge="200%"), []),
    ("progress takes longer than getting ready", {"spec": {"minReadySeconds": 600}},
     ["spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"]),
]  # fmt: skip


@cases(CREATE)
def test_create(changes: Json, texts: list[str]) -> None:
    assert create_texts(DEPLOYMENTS, **changes) == texts


UPDATE: list[Case] = [
    ("replicas, template and strategy are free",
     {"spec": {"replicas": 3, "paused": True, "strategy": {"type": "RollingUpdate"},
               "template": {"metadata": {"labels": {"v": "2"}}}}}, []),
    ("the selector stays", {"spec": {"selector": {"matchLabels": {"tier": "a"}},
                                     "template": {"metadata": {"labels": {"tier": "a"}}}}},
     ['spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"a"}}: field is immutable']),
]  # fmt: skip


@cases(UPDATE)
def test_update(changes: Json, texts: list[str]) -> None:
    assert update_texts(DEPLOYMENTS, changes) == texts


def test_defaults() -> None:
    spec = make_stored(DEPLOYMENTS)["spec"]
    template = spec.pop("template")
    assert spec == {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }
    assert template["spec"] == {
        "containers": [
            {
                "name": "main",
                "image": "program",
                "imagePullPolicy": "Always",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }


def test_what_depends_on_the_one_pod_waits_for_it() -> None:
    container = {
        "name": "main",
        "image": "a:1",
        "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": "1"}},
    }
    template = {"spec": {"hostNetwork": True, "containers": [container], "serviceAccountName": "robot"}}
    assert create_texts(DEPLOYMENTS, spec={"template": template}) == []
    pod = make_stored(DEPLOYMENTS, spec={"template": template})["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {"limits": {"cpu": "1"}}
    assert pod["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert pod["serviceAccount"] == "robot"
    assert "tolerations" not in pod


def test_generation_grows_with_annotations_too() -> None:
    old = make_stored(DEPLOYMENTS)
    for path in ("annotations", "labels"):
        new = copy.deepcopy(old)
        new["metadata"][path] = {"a": "b"}
        assert DEPLOYMENTS.strategy.spec_changed(new, old) is (path == "annotations")


def test_a_status_write_leaves_labels_alone() -> None:
    old = make_stored(DEPLOYMENTS, metadata={"labels": {"a": "b"}})
    sent = {**copy.deepcopy(old), "status": {"replicas": 1}}
    sent["metadata"] = {**sent["metadata"], "labels": {"a": "c"}, "annotations": {"d": "e"}}
    written = DEPLOYMENTS.strategy.prepare_status_update(sent, old, CONTEXT)
    assert (written["metadata"]["labels"], written["metadata"]["annotations"]) == ({"a": "b"}, {"d": "e"})
    assert written["status"] == {"replicas": 1}
