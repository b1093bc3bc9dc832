"""A TokenRequest from its body to its answer. Rule: spec "api-machinery" §9.6, §10.3."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from seaway.api.machinery.errors import BadRequest, make_not_found
from seaway.api.machinery.http import Identity
from seaway.api.registry import PODS, SERVICE_ACCOUNTS
from seaway.apiserver.access.accounttokens import make_token_answer, plan_token
from seaway.apiserver.access.rbac import make_forbidden
from seaway.apiserver.admission.noderestriction import find_token_refusal, node_name_of
from seaway.apiserver.record import Record
from seaway.apiserver.state import ServerState

Json = dict[str, Any]


def issue_token(state: ServerState, identity: Identity, namespace: str, name: str, request: Json) -> Json:
    """The TokenRequest with its token. Raises ApiError."""
    account = state.find(SERVICE_ACCOUNTS, namespace, name)
    if account is None:
        raise make_not_found(SERVICE_ACCOUNTS.plural, "", name)
    _check_names(request, account)
    issuer, wall_now = state.authenticator.issuer, state.effects.wall_now()
    jti = state.effects.new_uid()
    plan = plan_token(request, account, state.find, audiences=issuer.audiences, jti=jti, wall_now=wall_now)
    _admit_node(state, identity, account, request)
    token = issuer.sign(
        subject=plan.subject,
        audience=plan.audiences,
        wall_now=wall_now,
        expires_at=wall_now + timedelta(seconds=plan.expires_after_seconds),
        claims=plan.claims,
    )
    return make_token_answer(request, plan, account, token=token, wall_now=wall_now)


def _check_names(request: Json, account: Record) -> None:
    """The body may leave names out, and may not say others than the path. Raises BadRequest."""
    meta = request["metadata"]
    if meta.get("name", account.name) != account.name:
        found = f"the name of the object ({meta['name']}) does not match the name on the URL ({account.name})"
        raise BadRequest(found)
    if meta.get("namespace", account.namespace) != account.namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")


def _admit_node(state: ServerState, identity: Identity, account: Record, request: Json) -> None:
    node = node_name_of(identity)
    if node is None or not state.has_plugin("NodeRestriction"):
        return
    reference = (request.get("spec") or {}).get("boundObjectRef") or {}
    pod = state.find(PODS, account.namespace, reference.get("name") or "")
    with state.admission("NodeRestriction", "CREATE"):
        refusal = find_token_refusal(node, request, pod)
        if refusal is not None:
            raise make_forbidden("", SERVICE_ACCOUNTS.plural, account.name, refusal)
