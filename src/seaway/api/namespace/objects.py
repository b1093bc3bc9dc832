"""What every namespace has from its beginning: the account that Pods run as, and the CA by which they know the API.

The API server makes both with the namespace, and a control loop keeps them. Rule: spec "api-machinery" §10.2,
"controllers" §7.2.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
DEFAULT_ACCOUNT = "default"
ROOT_CA = "kube-root-ca.crt"
ANNOTATION_DESCRIPTION = "kubernetes.io/description"
ROOT_CA_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


def make_default_account(namespace: str) -> Json:
    """The ServiceAccount of Pods that name none."""
    meta = {"name": DEFAULT_ACCOUNT, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}


def make_root_ca(namespace: str, ca_pem: str) -> Json:
    """The ConfigMap that is mounted into Pods beside their token."""
    annotations = {ANNOTATION_DESCRIPTION: ROOT_CA_DESCRIPTION}
    meta = {"name": ROOT_CA, "namespace": namespace, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ca.crt": ca_pem}}
