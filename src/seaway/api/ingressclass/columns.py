"""Columns of IngressClasses. Rule: spec "service-api" §11."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from seaway.api.machinery.columns import AGE, NAME, NONE, Column, render_age

Json = dict[str, Any]
IS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"
COLUMNS = (
    NAME,
    Column(name="Controller", description="The controller that serves Ingresses of the class."),
    Column(name="Parameters", description="The object that configures the controller."),
    AGE,
)


def cells(obj: Json, wall_now: datetime) -> list[Any]:
    """The row of an IngressClass."""
    meta, spec = obj["metadata"], obj.get("spec", {})
    name = meta.get("name", "")
    if meta.get("annotations", {}).get(IS_DEFAULT) == "true":
        name += " (default)"
    parameters = spec.get("parameters")
    shown = _render_parameters(parameters) if parameters else NONE
    return [name, spec.get("controller", ""), shown, render_age(obj, wall_now)]


def _render_parameters(parameters: Json) -> str:
    kind, group = parameters.get("kind", ""), parameters.get("apiGroup")
    return f"{kind}.{group}/{parameters.get('name', '')}" if group else f"{kind}/{parameters.get('name', '')}"
