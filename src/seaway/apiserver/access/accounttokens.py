"""Tokens of service accounts: what a TokenRequest gets, and whom a token stands for.

A token is bound to its account, and to a Pod, Secret or Node if the request says so, by UID. The signature says what
was true when it was made; whether account and object still exist is asked with every use.
Rule: spec "api-machinery" §10.1 (identity), §10.3 (requests, claims, liveness).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from seaway.api.machinery.errors import ApiError, BadRequest, Conflict, make_invalid, make_not_found
from seaway.api.machinery.field import FieldError, invalid
from seaway.api.machinery.http import Identity
from seaway.api.registry import NODES, PODS, SECRETS, SERVICE_ACCOUNTS, Resource
from seaway.apiserver.record import Record, decode_object

Json = dict[str, Any]
Find = Callable[[Resource, str, str], Record | None]

ACCOUNT_PREFIX = "system:serviceaccount:"
ACCOUNTS_GROUP = "system:serviceaccounts"
GROUP = "authentication.k8s.io"
POD_NAME, POD_UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"
NODE_NAME, NODE_UID = "authentication.kubernetes.io/node-name", "authentication.kubernetes.io/node-uid"
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
DEFAULT_SECONDS = 3600
MIN_SECONDS = 600
MAX_SECONDS = 1 << 32
WARNED_SECONDS = 3607
"""The odd lifetime by which the API knows the token that it mounts into every Pod."""
EXTENDED_SECONDS = 365 * 24 * 3600
"""How long such a token really lasts, as upstream's: programs that read it once go on, and the Pod's end ends it."""
LEEWAY_SECONDS = 60
"""A Pod that is being stopped may still speak; upstream's."""
_BINDABLE = {"Pod": PODS, "Secret": SECRETS, "Node": NODES}


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """What is to be signed. `expires_after_seconds` may be more than what the client is told."""

    subject: str
    audiences: tuple[str, ...]
    told_seconds: int
    expires_after_seconds: int
    claims: Json


@dataclass(frozen=True, slots=True)
class Holder:
    """An object that must exist, with this UID, for a token to be good."""

    resource: Resource
    namespace: str
    name: str
    uid: str

    def is_alive(self, find: Find, wall_now: datetime) -> bool:
        """It is there, and not being deleted for longer than the leeway."""
        record = find(self.resource, self.namespace, self.name)
        if record is None or record.uid != self.uid:
            return False
        if not record.is_deleting:
            return True
        ends = datetime.strptime(decode_object(record.body)["metadata"]["deletionTimestamp"], "%Y-%m-%dT%H:%M:%SZ")
        return wall_now <= ends.replace(tzinfo=UTC) + timedelta(seconds=LEEWAY_SECONDS)


def plan_token(
    request: Json, account: Record, find: Find, *, audiences: Sequence[str], jti: str, wall_now: datetime
) -> TokenPlan:
    """The token that the TokenRequest asks for. audiences: the API's own, for a request that names none.

    Raises BadRequest, NotFound, Conflict, Invalid.
    """
    spec = request.get("spec") or {}
    seconds = spec.get("expirationSeconds")
    seconds = DEFAULT_SECONDS if seconds is None else int(seconds)
    errors = _validate_seconds(seconds)
    if errors:
        raise make_invalid("TokenRequest", GROUP, "", errors)
    bound = _find_bound(spec.get("boundObjectRef"), account, find)
    wanted = tuple(spec.get("audiences") or ()) or tuple(audiences)
    private: Json = {
        "namespace": account.namespace,
        "serviceaccount": {"name": account.name, "uid": account.uid},
        **bound,
    }
    expires = seconds
    if seconds == WARNED_SECONDS and "pod" in bound and set(wanted) & set(audiences):
        private["warnafter"] = int(wall_now.timestamp()) + seconds
        expires = EXTENDED_SECONDS
    subject = f"{ACCOUNT_PREFIX}{account.namespace}:{account.name}"
    return TokenPlan(subject, wanted, seconds, expires, {"jti": jti, "kubernetes.io": private})


def _validate_seconds(seconds: int) -> list[FieldError]:
    path = "spec.expirationSeconds"
    if seconds < MIN_SECONDS:
        return [invalid(path, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > MAX_SECONDS:
        return [invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")]
    return []


def _find_bound(reference: Mapping[str, Any] | None, account: Record, find: Find) -> Json:
    """The claims of the object that the token is bound to; {} for none."""
    if not reference:
        return {}
    kind, api_version = reference.get("kind") or "", reference.get("apiVersion") or ""
    resource = _BINDABLE.get(kind) if api_version == "v1" else None
    if resource is None:
        group, _, version = api_version.rpartition("/")
        raise BadRequest(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
    name = reference.get("name") or ""
    record = find(resource, account.namespace if resource.namespaced else "", name)
    if record is None:
        raise make_not_found(resource.plural, "", name)
    wanted = reference.get("uid")
    if wanted and wanted != record.uid:
        raise _make_uid_conflict(kind, name, wanted)
    bound: Json = {kind.lower(): {"name": name, "uid": record.uid}}
    if resource is PODS:
        if record.find_field("spec.serviceAccountName") != account.name:
            raise BadRequest(
                f'cannot bind token for serviceaccount "{account.name}" to pod running with different serviceaccount '
                "name."
            )
        node_name = record.find_field("spec.nodeName")
        node = find(NODES, "", node_name) if node_name else None
        if node_name:
            bound["node"] = {"name": node_name} if node is None else {"name": node_name, "uid": node.uid}
    return bound


def _make_uid_conflict(kind: str, name: str, uid: str) -> ApiError:
    why = (
        f"the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been "
        "deleted and then recreated"
    )
    return Conflict(f'Operation cannot be fulfilled on {kind} "{name}": {why}', {"name": name, "kind": kind})


def make_token_answer(request: Json, plan: TokenPlan, account: Record, *, token: str, wall_now: datetime) -> Json:
    """The TokenRequest with its token, named after the account."""
    spec = {**(request.get("spec") or {}), "audiences": list(plan.audiences), "expirationSeconds": plan.told_seconds}
    expires = wall_now + timedelta(seconds=plan.told_seconds)
    return {
        "kind": "TokenRequest",
        "apiVersion": f"{GROUP}/v1",
        "metadata": {
            "name": account.name,
            "namespace": account.namespace,
            "uid": account.uid,
            "creationTimestamp": wall_now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "spec": spec,
        "status": {"token": token, "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ")},
    }


def identify_claims(claims: Mapping[str, Any]) -> tuple[Identity, tuple[Holder, ...]] | None:
    """Whom verified claims stand for, and what must be alive; None for claims that are no service account's.

    The identity lacks the group of everybody who is authenticated.
    """
    private = claims.get("kubernetes.io")
    subject = claims.get("sub")
    if not isinstance(private, dict) or not isinstance(subject, str):
        return None
    namespace, account = private.get("namespace"), _find_reference(private, "serviceaccount")
    if account is None or subject != f"{ACCOUNT_PREFIX}{namespace}:{account[0]}":
        return None
    holders = [Holder(SERVICE_ACCOUNTS, str(namespace), *account)]
    extra: list[tuple[str, tuple[str, ...]]] = []
    if isinstance(jti := claims.get("jti"), str):
        extra.append((CREDENTIAL_ID, (f"JTI={jti}",)))
    pod, node, secret = (_find_reference(private, kind) for kind in ("pod", "node", "secret"))
    if pod is not None:
        holders.append(Holder(PODS, str(namespace), *pod))
        extra += [(POD_NAME, (pod[0],)), (POD_UID, (pod[1],))]
    if secret is not None:
        holders.append(Holder(SECRETS, str(namespace), *secret))
    if node is not None:
        if pod is None:
            holders.append(Holder(NODES, "", *node))
        extra.append((NODE_NAME, (node[0],)))
        extra += [(NODE_UID, (node[1],))] if node[1] else []
    return make_account_identity(str(namespace), account[0], uid=account[1], extra=tuple(sorted(extra))), tuple(holders)


def make_account_identity(
    namespace: str, name: str, *, uid: str = "", extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
) -> Identity:
    """The identity of a service account."""
    groups = (ACCOUNTS_GROUP, f"{ACCOUNTS_GROUP}:{namespace}")
    return Identity(f"{ACCOUNT_PREFIX}{namespace}:{name}", groups, uid, extra)


def split_account(user: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account's user name, None for others."""
    parts = user.split(":")
    if not user.startswith(ACCOUNT_PREFIX) or len(parts) != 4 or not (parts[2] and parts[3]):
        return None
    return parts[2], parts[3]


def _find_reference(private: Mapping[str, Any], kind: str) -> tuple[str, str] | None:
    found = private.get(kind)
    if not isinstance(found, dict):
        return None
    return str(found.get("name", "")), str(found.get("uid", ""))
