"""One object of every kind that is served and can be made by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seaway.api.registry import RESOURCES, Resource

_TEXT = Path(__file__).with_name("kinds.yaml").read_text()
Json = dict[str, Any]
NOT_STORED = frozenset(
    ("TokenReview", "SelfSubjectReview", "SubjectAccessReview", "SelfSubjectAccessReview", "SelfSubjectRulesReview",
     "LocalSubjectAccessReview", "TokenRequest", "Binding", "Eviction", "Scale", "ComponentStatus")
)  # fmt: skip
"""Answers to questions, and actions: nothing is kept that could be got, listed or patched."""
EMPTY = frozenset(("CustomResourceDefinition", "APIService"))
"""Lists that programs look at when they start, and that are always empty."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The object and the kind that serves it."""

    resource: Resource
    obj: Json

    @property
    def name(self) -> str:
        return str(self.obj["metadata"]["name"])

    @property
    def kind(self) -> str:
        """As the page calls it: two kinds are named Event."""
        return self.resource.kind if self.resource.group != "events.k8s.io" else "Event (events.k8s.io)"

    @property
    def typed(self) -> str:
        """The kind as kubectl takes it: `services`, `leases.coordination.k8s.io`."""
        resource = self.resource
        return f"{resource.plural}.{resource.group}" if resource.group else resource.plural

    @property
    def printed(self) -> str:
        """As kubectl prints it: `service/sample`, `lease.coordination.k8s.io/sample`."""
        resource = self.resource
        kind = f"{resource.singular}.{resource.group}" if resource.group else resource.singular
        return f"{kind}/{self.name}"


def make_samples(namespace: str) -> list[Sample]:
    """Those of the served kinds, in the order of the file."""
    served = {(r.api_version, r.kind): r for r in RESOURCES}
    documents = yaml.safe_load_all(_TEXT.replace("NAMESPACE", namespace))
    return [Sample(served[key], obj) for obj in documents if (key := (obj["apiVersion"], obj["kind"])) in served]


def find_missing() -> set[str]:
    """Served kinds without a sample."""
    named = {(obj["apiVersion"], obj["kind"]) for obj in yaml.safe_load_all(_TEXT)}
    return {r.kind for r in RESOURCES if (r.api_version, r.kind) not in named and r.kind not in NOT_STORED | EMPTY}


def dump(samples: list[Sample], path: Path) -> Path:
    """The samples as a file of YAML documents."""
    path.write_text("---\n".join(yaml.safe_dump(sample.obj, sort_keys=False) for sample in samples))
    return path
