"""What is wrong with a Job. Rule: upstream's Job validation."""

from __future__ import annotations

from collections.abc import Sequence

from seaway.api.machinery.counts import invalid_counts
from seaway.api.machinery.field import FieldError, invalid, not_supported, required, too_many
from seaway.api.machinery.labelselectors import validate_label_selector
from seaway.api.machinery.strategy import Json
from seaway.api.pod.validation import validate_pod_template
from seaway.api.workload.validation import match_template, validate_immutable

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
OLD_CONTROLLER_UID, OLD_JOB_NAME = "controller-uid", "job-name"
"""Labels without a prefix, from before there were prefixed ones; clients still select by them."""
MODES = ("Indexed", "NonIndexed")
REPLACEMENTS = ("Failed", "TerminatingOrFailed")
ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
MAX_FAILURE_RULES = 20
MAX_SUCCESS_RULES = 20
_COUNTS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
_INDEXED_COUNTS = ("backoffLimitPerIndex", "maxFailedIndexes")
_FIXED = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_SCHEDULING = ("nodeSelector", "affinity", "tolerations", "schedulingGates")


def validate_job(obj: Json) -> list[FieldError]:
    """The create rules."""
    spec = obj.get("spec") or {}
    errors = _validate_generated_selector(obj, spec)
    errors += validate_job_spec(spec, "spec")
    if spec.get("selector") is None:
        errors.append(required("spec.selector"))
    else:
        errors += validate_label_selector(spec["selector"], "spec.selector")
    return errors + match_template(spec.get("selector"), spec.get("template") or {})


def validate_job_update(obj: Json, old: Json) -> list[FieldError]:
    """What its Pods are and how they are counted stays; where they run may change while none was started."""
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    errors = validate_job_spec(spec, "spec")
    errors += validate_immutable(obj, old, *_FIXED)
    if spec.get("completions") != before.get("completions") and not _is_elastic(spec, before):
        errors.append(invalid("spec.completions", spec.get("completions"), "field is immutable"))
    template, was = spec.get("template") or {}, before.get("template") or {}
    if (old.get("spec") or {}).get("suspend") and not (old.get("status") or {}).get("startTime"):
        template, was = _without_scheduling(template), _without_scheduling(was)
    if template != was:
        errors.append(invalid("spec.template", spec.get("template"), "field is immutable"))
    return errors


def validate_job_status(obj: Json, old: Json) -> list[FieldError]:
    """Counts are counts."""
    return invalid_counts("status", obj.get("status") or {}, "active", "succeeded", "failed", "ready", "terminating")


def validate_job_spec(spec: Json, path: str) -> list[FieldError]:
    """The rules that Jobs and the templates of CronJobs share. Paths start at `path`."""
    errors = invalid_counts(path, spec, *_COUNTS)
    mode = spec.get("completionMode")
    if mode is not None and mode not in MODES:
        errors.append(not_supported(f"{path}.completionMode", mode, MODES))
    if mode == "Indexed":
        errors += invalid_counts(path, spec, *_INDEXED_COUNTS)
        if spec.get("completions") is None:
            errors.append(required(f"{path}.completions", "when completion mode is Indexed"))
    else:
        errors += [
            invalid(f"{path}.{field}", spec[field], "requires indexed completion mode")
            for field in _INDEXED_COUNTS
            if spec.get(field) is not None
        ]
    if (policy := spec.get("podReplacementPolicy")) not in (None, *REPLACEMENTS):
        errors.append(not_supported(f"{path}.podReplacementPolicy", policy, REPLACEMENTS))
    errors += _validate_failure_policy(spec, path)
    errors += _validate_success_policy(spec, path)
    return errors + _validate_template(spec.get("template") or {}, f"{path}.template")


def _validate_template(template: Json, path: str) -> list[FieldError]:
    """A Pod of a Job ends."""
    errors = validate_pod_template(template, path)
    if (template.get("spec") or {}).get("restartPolicy") == "Always":
        errors.append(required(f"{path}.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
    return errors


def _validate_failure_policy(spec: Json, path: str) -> list[FieldError]:
    policy, path = spec.get("podFailurePolicy"), f"{path}.podFailurePolicy"
    if policy is None:
        return []
    rules: Sequence[Json] = policy.get("rules") or ()
    errors: list[FieldError] = []
    restart = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    if restart != "Never":
        where = path.replace("podFailurePolicy", "template.spec.restartPolicy")
        text = "only 'Never' is supported when podFailurePolicy is specified"
        errors.append(invalid(where, restart or "", text))
    if len(rules) > MAX_FAILURE_RULES:
        errors.append(too_many(f"{path}.rules", len(rules), MAX_FAILURE_RULES))
    for index, rule in enumerate(rules):
        own, action = f"{path}.rules[{index}]", rule.get("action") or ""
        if not action:
            errors.append(required(f"{own}.action", "valid values: " + ", ".join(f'"{a}"' for a in ACTIONS)))
        elif action not in ACTIONS:
            errors.append(not_supported(f"{own}.action", action, ACTIONS))
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions")
        if codes is None and not conditions:
            text = "specifying one of OnExitCodes and OnPodConditions is required"
            errors.append(invalid(own, rule, text))
        elif codes is not None and conditions:
            text = "specifying both OnExitCodes and OnPodConditions is not supported"
            errors.append(invalid(own, rule, text))
        if codes is not None:
            errors += _validate_exit_codes(codes, f"{own}.onExitCodes")
    return errors


def _validate_exit_codes(codes: Json, path: str) -> list[FieldError]:
    operator, values = codes.get("operator") or "", codes.get("values") or ()
    errors: list[FieldError] = []
    if operator not in ("In", "NotIn"):
        errors.append(not_supported(f"{path}.operator", operator, ("In", "NotIn")))
    if not values:
        errors.append(invalid(f"{path}.values", list(values), "at least one value is required"))
    if list(values) != sorted(values):
        errors.append(invalid(f"{path}.values", list(values), "must be ordered"))
    if operator == "In" and 0 in values:
        errors.append(invalid(f"{path}.values", 0, "must not be 0 for the In operator"))
    return errors


def _validate_success_policy(spec: Json, path: str) -> list[FieldError]:
    policy = spec.get("successPolicy")
    if policy is None:
        return []
    if spec.get("completionMode") != "Indexed":
        return [invalid(f"{path}.successPolicy", policy, "requires indexed completion mode")]
    rules: Sequence[Json] = policy.get("rules") or ()
    path = f"{path}.successPolicy.rules"
    if not rules:
        return [required(path, "at least one rules must be specified when the successPolicy is specified")]
    errors = [too_many(path, len(rules), MAX_SUCCESS_RULES)] if len(rules) > MAX_SUCCESS_RULES else []
    for index, rule in enumerate(rules):
        if rule.get("succeededCount") is None and rule.get("succeededIndexes") is None:
            text = "at least one of succeededCount or succeededIndexes must be specified"
            errors.append(required(f"{path}[{index}]", text))
        errors += invalid_counts(f"{path}[{index}]", rule, "succeededCount")
    return errors


def _validate_generated_selector(obj: Json, spec: Json) -> list[FieldError]:
    """A selector that the server made has its one label, which no other Job has."""
    if spec.get("manualSelector"):
        return []
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    uid = (obj.get("metadata") or {}).get("uid")
    if labels.get(CONTROLLER_UID) == uid and len(labels) == 1:
        return []
    return [invalid("spec.selector", spec.get("selector"), "`selector` not auto-generated")]


def _is_elastic(spec: Json, before: Json) -> bool:
    """An Indexed Job grows and shrinks by changing completions and parallelism to the same number."""
    return (
        before.get("completionMode") == "Indexed"
        and spec.get("completions") is not None
        and before.get("completions") is not None
        and spec.get("completions") == spec.get("parallelism")
    )


def _without_scheduling(template: Json) -> Json:
    pod = {key: value for key, value in (template.get("spec") or {}).items() if key not in _SCHEDULING}
    meta = {k: v for k, v in (template.get("metadata") or {}).items() if k not in ("labels", "annotations")}
    return {**template, "metadata": meta, "spec": pod}
