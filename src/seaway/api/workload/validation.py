"""What is wrong with a selector and a template of Pods. Rule: upstream's validation of the workload kinds."""

from __future__ import annotations

from collections.abc import Sequence

from seaway.api.machinery.field import FieldError, forbidden, invalid, not_supported, required
from seaway.api.machinery.labelselectors import is_empty_selector, read_label_selector, validate_label_selector
from seaway.api.machinery.strategy import Json
from seaway.api.pod.validation import validate_pod_template

IMMUTABLE_TEXT = "field is immutable"
MISMATCH_TEXT = "`selector` does not match template `labels`"


def validate_selector_and_template(spec: Json, kind: str) -> list[FieldError]:
    """The selector chooses something, and the template's Pods are among it and run for ever. kind: as texts say it."""
    selector = spec.get("selector")
    if selector is None:
        errors = [required("spec.selector")]
    else:
        errors = validate_label_selector(selector, "spec.selector")
        if is_empty_selector(selector):
            errors.append(invalid("spec.selector", selector, f"empty selector is invalid for {kind.lower()}"))
    return errors + validate_lasting_template(spec, kind)


def validate_lasting_template(spec: Json, kind: str) -> list[FieldError]:
    """The template of Pods that are replaced when they end. An unusable selector is judged elsewhere."""
    template = spec.get("template") or {}
    errors = match_template(spec.get("selector"), template)
    errors += validate_pod_template(template, "spec.template")
    pod = template.get("spec") or {}
    if pod.get("restartPolicy") in ("OnFailure", "Never"):
        errors.append(not_supported("spec.template.spec.restartPolicy", pod["restartPolicy"], ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        text = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(forbidden("spec.template.spec.activeDeadlineSeconds", text))
    return errors


def match_template(selector: Json | None, template: Json) -> list[FieldError]:
    """The selector matches the labels of the template."""
    found = read_label_selector(selector)
    labels = (template.get("metadata") or {}).get("labels") or {}
    if found and not found.matches(labels):
        return [invalid("spec.template.metadata.labels", labels, MISMATCH_TEXT)]
    return []


def validate_immutable(obj: Json, old: Json, *fields: str) -> list[FieldError]:
    """The fields of the specification that may not change."""
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    return [
        invalid(f"spec.{field}", spec.get(field), IMMUTABLE_TEXT)
        for field in fields
        if (spec.get(field) or None) != (before.get(field) or None)
    ]


def list_changes(spec: Json, before: Json, free: Sequence[str]) -> list[str]:
    """The fields that changed although they may not, sorted; absent and empty are the same."""
    names = (spec.keys() | before.keys()) - set(free)
    return sorted(name for name in names if (spec.get(name) or None) != (before.get(name) or None))
