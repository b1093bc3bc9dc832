"""As which account a Pod runs, and what it gets by it: a token to mount, and secrets to pull images with.

Rule: spec "api-machinery" §10.2 (admission ServiceAccount); names and numbers are upstream's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from seaway.api.machinery.errors import ApiError
from seaway.apiserver.access.accounttokens import WARNED_SECONDS
from seaway.apiserver.access.rbac import make_forbidden

Json = dict[str, Any]
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
ENFORCE_SECRETS = "kubernetes.io/enforce-mountable-secrets"
_ROOT_CA = "kube-root-ca.crt"
_FILE_MODE = 0o644


def admit_pod(pod: Json, account: Mapping[str, Any] | None, *, namespace: str, suffix: Callable[[], str]) -> Json:
    """The Pod with what its account gives it. `pod` is defaulted and not modified; account None: it does not exist.

    suffix: five random characters for the volume's name. Raises Forbidden.
    """
    if MIRROR_ANNOTATION in (pod["metadata"].get("annotations") or {}):
        return pod
    spec = pod["spec"]
    if account is None:
        raise _refuse_missing(pod, namespace)
    if (account["metadata"].get("annotations") or {}).get(ENFORCE_SECRETS) == "true":
        _check_mountable(pod, account)
    spec = dict(spec)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(entry) for entry in account["imagePullSecrets"]]
    if _wants_token(spec, account):
        spec = _mount_token(spec, suffix)
    return {**pod, "spec": spec}


def _refuse_missing(pod: Json, namespace: str) -> ApiError:
    name = pod["spec"]["serviceAccountName"]
    why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
    return make_forbidden("", "pods", _shown_name(pod), why)


def _wants_token(spec: Json, account: Mapping[str, Any]) -> bool:
    """The Pod decides, then the account; silence is yes."""
    for own in (spec.get("automountServiceAccountToken"), account.get("automountServiceAccountToken")):
        if own is not None:
            return bool(own)
    return True


def _mount_token(spec: Json, suffix: Callable[[], str]) -> Json:
    """The volume, and a mount in each container that has nothing at its place. Without a mount there is no volume."""
    volumes = list(spec.get("volumes") or ())
    own = next((v["name"] for v in volumes if v.get("name", "").startswith(VOLUME_PREFIX) and "projected" in v), "")
    taken = {volume.get("name") for volume in volumes}
    name = own
    while not name or (name in taken and not own):
        name = f"{VOLUME_PREFIX}{suffix()}"
    mounted = False
    changed: Json = {}
    for field in ("initContainers", "containers"):
        containers = []
        for container in spec.get(field) or ():
            mounts = list(container.get("volumeMounts") or ())
            if all(mount.get("mountPath") != MOUNT_PATH for mount in mounts):
                mounts.append({"name": name, "readOnly": True, "mountPath": MOUNT_PATH})
                container, mounted = {**container, "volumeMounts": mounts}, True
            containers.append(container)
        if containers:
            changed[field] = containers
    if not mounted:
        return spec
    return {**spec, **changed, "volumes": volumes if own else [*volumes, make_token_volume(name)]}


def make_token_volume(name: str) -> Json:
    """Token, CA and namespace, as programs in a Pod look for them."""
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": WARNED_SECONDS, "path": "token"}},
        {"configMap": {"name": _ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": _FILE_MODE}}


def _check_mountable(pod: Json, account: Mapping[str, Any]) -> None:
    """Such an account names the Secrets that its Pods may use. Raises Forbidden."""
    allowed = {entry.get("name") for entry in account.get("secrets") or ()}
    own, spec = account["metadata"]["name"], pod["spec"]
    for volume in spec.get("volumes") or ():
        name = (volume.get("secret") or {}).get("secretName")
        if name and name not in allowed:
            raise _refuse_secret(pod, f'volume with secret.secretName="{name}"', own)
    for field in ("initContainers", "containers"):
        for container in spec.get(field) or ():
            for variable in container.get("env") or ():
                key = (variable.get("valueFrom") or {}).get("secretKeyRef") or {}
                if key and key.get("name") not in allowed:
                    what = (
                        f"{field[:-1]} {container.get('name', '')} with envVar {variable.get('name', '')} referencing "
                        f'secret.secretName="{key.get("name", "")}"'
                    )
                    raise _refuse_secret(pod, what, own)
            for source in container.get("envFrom") or ():
                name = (source.get("secretRef") or {}).get("name")
                if name and name not in allowed:
                    what = (
                        f'{field[:-1]} {container.get("name", "")} with envFrom referencing secret.secretName="{name}"'
                    )
                    raise _refuse_secret(pod, what, own)
    pull = {entry.get("name") for entry in account.get("imagePullSecrets") or ()}
    for entry in spec.get("imagePullSecrets") or ():
        if entry.get("name") not in pull:
            what = f'imagePullSecret with name "{entry.get("name", "")}"'
            why = f"{what} is not allowed because service account {own} does not reference that imagePullSecret"
            raise make_forbidden("", "pods", _shown_name(pod), why)


def _refuse_secret(pod: Json, what: str, account: str) -> ApiError:
    why = f"{what} is not allowed because service account {account} does not reference that secret"
    return make_forbidden("", "pods", _shown_name(pod), why)


def _shown_name(pod: Json) -> str:
    meta = pod["metadata"]
    return str(meta.get("name") or meta.get("generateName") or "")
