"""Rule: spec "api-machinery" trap 4, §4.2; upstream's PodTemplate validation."""

from __future__ import annotations

import copy

from seaway.api.registry import POD_TEMPLATES
from tests.api.manifests import create_texts, make_stored


def test_the_template_is_judged_as_a_pod_is() -> None:
    texts = create_texts(POD_TEMPLATES, template={"spec": {"dnsPolicy": "x", "ephemeralContainers": [{"name": "a"}]}})
    assert texts == [
        'template.spec.dnsPolicy: Unsupported value: "x": supported values: "ClusterFirst", '
        '"ClusterFirstWithHostNet", "Default", "None"',
        "template.spec.ephemeralContainers: Forbidden: ephemeral containers not allowed in pod template",
    ]


def test_generation_counts_changes_of_the_template() -> None:
    old = make_stored(POD_TEMPLATES)
    new = copy.deepcopy(old)
    new["template"]["metadata"]["labels"]["v"] = "2"
    assert POD_TEMPLATES.strategy.spec_changed(new, old)
    assert POD_TEMPLATES.strategy.answers_delete_with_object
