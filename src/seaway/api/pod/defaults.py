"""What a Pod has when the client does not say, so that agents need not know.

A template of Pods has less: what depends on the one Pod waits for it. A Pod also gets what upstream's admission adds:
the default service account, priority, and five minutes of patience with a node that is not ready or unreachable.
Rule: spec "node" §2.1, §1.10, "api-machinery" §10.2.
"""

from __future__ import annotations

import copy

from seaway.api.machinery.strategy import Json

DEFAULT_GRACE_SECONDS = 30
TOLERATION_SECONDS = 300
_FILE_MODE = 0o644
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_TEMPLATE_SPEC = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": DEFAULT_GRACE_SECONDS,
}
_POD_SPEC = {"enableServiceLinks": True, "priority": 0, "preemptionPolicy": "PreemptLowerPriority"}
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def default_pod(obj: Json) -> Json:
    """The Pod with its defaults filled in. Changes `obj`."""
    spec = obj.setdefault("spec", {})
    default_pod_spec(spec)
    for field, value in _POD_SPEC.items():
        _fill(spec, field, value)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in _containers(spec):
        _default_to_limits(container["resources"])
        for port in container.get("ports") or () if spec.get("hostNetwork") else ():
            if not port.get("hostPort"):
                port["hostPort"] = port.get("containerPort") or 0
    _default_tolerations(spec)
    return obj


def default_pod_template(template: Json) -> Json:
    """The template of Pods with its defaults filled in. Changes `template`."""
    spec = template.setdefault("spec", {})
    default_pod_spec(spec)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    return template


def default_pod_spec(spec: Json) -> None:
    """What a Pod and a template of Pods have alike. Changes `spec`."""
    for field, value in _TEMPLATE_SPEC.items():
        _fill(spec, field, value)
    _fill(spec, "securityContext", {})
    for container in _containers(spec):
        _default_container(container)
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def _containers(spec: Json) -> list[Json]:
    return [container for field in _CONTAINER_LISTS for container in spec.get(field) or ()]


def _fill(of: Json, field: str, value: object) -> None:
    """Absent, null and the empty string are the same; zero and false are said."""
    if of.get(field) is None or of.get(field) == "":
        of[field] = copy.copy(value)


def _default_to_limits(resources: Json) -> None:
    """A Pod asks at least for what it may have at most."""
    if resources.get("limits"):
        resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}


def _default_container(container: Json) -> None:
    _fill(container, "terminationMessagePath", "/dev/termination-log")
    _fill(container, "terminationMessagePolicy", "File")
    _fill(container, "imagePullPolicy", default_pull_policy(container.get("image") or ""))
    _fill(container, "resources", {})
    for port in container.get("ports") or ():
        _fill(port, "protocol", "TCP")
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if probe := container.get(name):
            for field, value in _PROBE.items():
                probe[field] = probe.get(field) or value
            _default_http(probe)
            if "grpc" in probe:
                _fill(probe["grpc"], "service", "")
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _default_http(hook)
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            _fill(reference, "apiVersion", "v1")


def _default_http(handler: Json) -> None:
    if request := handler.get("httpGet"):
        _fill(request, "path", "/")
        _fill(request, "scheme", "HTTP")


def default_pull_policy(image: str) -> str:
    """`Always` for an image whose tag moves: `latest` or none; a digest does not move."""
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    tag = name.partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _default_volume(volume: Json) -> None:
    """No source means an empty directory."""
    if set(volume) <= {"name"}:
        volume["emptyDir"] = {}
    for source in ("secret", "configMap", "downwardAPI", "projected"):
        if isinstance(volume.get(source), dict):
            _fill(volume[source], "defaultMode", _FILE_MODE)
    if isinstance(volume.get("hostPath"), dict):
        _fill(volume["hostPath"], "type", "")
    for part in (volume.get("projected") or {}).get("sources") or ():
        if token := part.get("serviceAccountToken"):
            _fill(token, "expirationSeconds", 3600)
    for part in [volume, *((volume.get("projected") or {}).get("sources") or ())]:
        for item in (part.get("downwardAPI") or {}).get("items") or ():
            if reference := item.get("fieldRef"):
                _fill(reference, "apiVersion", "v1")


def _default_tolerations(spec: Json) -> None:
    tolerations = spec.get("tolerations") or []
    added = []
    for key in _TAINTS:
        known = any(
            toleration.get("key") in (key, None, "") and toleration.get("effect") in ("NoExecute", None, "")
            for toleration in tolerations
        )
        if not known:
            added.append(
                {"effect": "NoExecute", "key": key, "operator": "Exists", "tolerationSeconds": TOLERATION_SECONDS}
            )
    if added:
        spec["tolerations"] = [*tolerations, *added]
