"""The Pod of a Job, with the finalizer by which it is counted, and its index. Rule: spec "controllers" §7.9."""

from __future__ import annotations

from typing import Any

from seaway.controllers.workloads.job.ending import INDEX
from seaway.controllers.workloads.job.perindex import FAILURES
from seaway.controllers.workloads.job.plan import FINALIZER
from seaway.controllers.workloads.template import add_labels, render_pod

Json = dict[str, Any]
MAX_PREFIX = 58
"""Of a generated name, before the index (upstream's)."""
_ENVIRONMENT = {
    "name": "JOB_COMPLETION_INDEX",
    "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}},
}


def render_job_pod(job: Json, reference: Json, index: int | None, *, failures: int | None = None) -> Json:
    """The Pod of the template; with an index also its label, annotation, variable and host name.

    failures: of the index so far, where the Job limits them.
    """
    name, template = job["metadata"]["name"], job["spec"]["template"]
    prefix = f"{name}-" if index is None else f"{name[: MAX_PREFIX - len(str(index))]}-{index}-"
    if index is not None:
        template = add_labels(template, {INDEX: str(index)})
    pod = render_pod(template, reference, namespace=job["metadata"]["namespace"], generate_name=prefix)
    pod["metadata"]["finalizers"] = [*(pod["metadata"].get("finalizers") or ()), FINALIZER]
    if index is not None:
        pod["metadata"]["annotations"] = {**(pod["metadata"].get("annotations") or {}), INDEX: str(index)}
        if failures is not None:
            pod["metadata"]["annotations"][FAILURES] = str(failures)
        pod["spec"].setdefault("hostname", f"{name}-{index}")
        for field in ("initContainers", "containers"):
            for container in pod["spec"].get(field) or ():
                if all(entry["name"] != _ENVIRONMENT["name"] for entry in container.get("env") or ()):
                    container["env"] = [*(container.get("env") or ()), _ENVIRONMENT]
    return pod


def render_release(uid: str) -> Json:
    """The strategic merge patch that takes the finalizer from the Pod with the UID."""
    return {"metadata": {"uid": uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}}
