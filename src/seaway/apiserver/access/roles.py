"""The roles that every server has: of users, of the components, and who is bound to them.

admin, edit and view have no rules of their own: they gather those of the roles that are labelled for them
(`aggregation.py`), so that whoever adds a kind can add to them.
Rule: spec "api-machinery" §10.4 (table); upstream's bootstrap policy. `seaway:dns` is a role of our own: upstream's
lacks EndpointSlices; `seaway:healthcheck` and `seaway:diagnosis` are for loops that upstream does not have.
`seaway:userspace-proxy` is for a proxy that says on a Service where it is served; nobody has it from the start.
"""

from __future__ import annotations

from seaway.apiserver.access.controllerroles import CONTROLLER_PREFIX, CONTROLLER_RULES, OWN_LOOPS
from seaway.apiserver.access.policyrules import (
    ALL,
    ANY,
    APPS,
    AUTHENTICATION,
    AUTHORIZATION,
    BATCH,
    COORDINATION,
    CORE,
    CREATE,
    DISCOVERY,
    EVENTS,
    GET,
    LIST_WATCH,
    NETWORKING,
    POLICY,
    RBAC,
    READ,
    WRITE,
    Json,
    paths,
    rule,
)

_HEALTH = ("/livez", "/readyz", "/healthz", "/version", "/version/")
_WORKLOADS = ("daemonsets", "deployments", "replicasets", "statefulsets")
_SCALED = ("deployments/scale", "replicasets/scale", "statefulsets/scale")
_TALKS = ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy")

# Kinds of a namespace by who may see and who may change them. Cluster-scoped kinds, and what the server or its loops
# keep for themselves, are in none: a test names every kind that is left out.
_VIEWED = [
    rule(READ, CORE, "configmaps", "endpoints", "persistentvolumeclaims", "persistentvolumeclaims/status", "pods",
         "replicationcontrollers", "replicationcontrollers/scale", "serviceaccounts", "services", "services/status"),
    rule(READ, CORE, "bindings", "events", "limitranges", "namespaces", "namespaces/status", "pods/log",
         "pods/status", "podtemplates", "replicationcontrollers/status", "resourcequotas", "resourcequotas/status"),
    rule(READ, "events.k8s.io", "events"),
    rule(READ, DISCOVERY, "endpointslices"),
    rule(READ, APPS, "controllerrevisions", *_WORKLOADS, *_SCALED, *(f"{plural}/status" for plural in _WORKLOADS)),
    rule(READ, "autoscaling", "horizontalpodautoscalers", "horizontalpodautoscalers/status"),
    rule(READ, BATCH, "cronjobs", "cronjobs/status", "jobs", "jobs/status"),
    rule(READ, POLICY, "poddisruptionbudgets", "poddisruptionbudgets/status"),
    rule(READ, NETWORKING, "ingresses", "ingresses/status", "networkpolicies"),
]  # fmt: skip
_EDITED = [
    rule(READ, CORE, *_TALKS, "secrets"),
    rule(("impersonate",), CORE, "serviceaccounts"),
    rule(WRITE, CORE, "pods", *_TALKS),
    rule(CREATE, CORE, "pods/eviction"),
    rule(WRITE, CORE, "configmaps", "events", "persistentvolumeclaims", "podtemplates", "replicationcontrollers",
         "replicationcontrollers/scale", "secrets", "serviceaccounts", "services"),
    rule(CREATE, CORE, "serviceaccounts/token"),
    rule(WRITE, "events.k8s.io", "events"),
    rule(WRITE, APPS, *_WORKLOADS, *_SCALED),
    rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
    rule(WRITE, BATCH, "cronjobs", "jobs"),
    rule(WRITE, POLICY, "poddisruptionbudgets"),
    rule(WRITE, NETWORKING, "ingresses", "networkpolicies"),
    rule(ALL, COORDINATION, "leases"),
]  # fmt: skip
_ADMINISTERED = [
    rule(CREATE, AUTHORIZATION, "localsubjectaccessreviews"),
    rule(ALL, RBAC, "rolebindings", "roles"),
]

ROLE_RULES: dict[str, list[Json]] = {
    "cluster-admin": [rule((ANY,), ANY, "*"), {"verbs": ["*"], "nonResourceURLs": ["*"]}],
    "system:aggregate-to-admin": _ADMINISTERED,
    "system:aggregate-to-edit": _EDITED,
    "system:aggregate-to-view": _VIEWED,
    "system:discovery": [paths(*_HEALTH, "/openapi", "/openapi/*", "/api", "/api/*", "/apis", "/apis/*")],
    "system:public-info-viewer": [paths(*_HEALTH)],
    "system:basic-user": [
        rule(CREATE, AUTHORIZATION, "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        rule(CREATE, AUTHENTICATION, "selfsubjectreviews"),
    ],
    "system:monitoring": [
        paths("/healthz", "/healthz/*", "/livez", "/livez/*", "/metrics", "/metrics/slis", "/readyz", "/readyz/*")
    ],
    "system:service-account-issuer-discovery": [
        paths("/.well-known/openid-configuration", "/.well-known/openid-configuration/", "/openid/v1/jwks",
              "/openid/v1/jwks/")
    ],
    "system:auth-delegator": [
        rule(CREATE, AUTHENTICATION, "tokenreviews"),
        rule(CREATE, AUTHORIZATION, "subjectaccessreviews"),
    ],
    "system:node-proxier": [
        rule(LIST_WATCH, CORE, "endpoints", "services"),
        rule(READ, CORE, "nodes"),
        rule(LIST_WATCH, DISCOVERY, "endpointslices"),
        rule(LIST_WATCH, NETWORKING, "servicecidrs"),
        EVENTS,
    ],
    "seaway:userspace-proxy": [rule(("patch",), CORE, "services")],
    "system:kube-dns": [rule(LIST_WATCH, CORE, "endpoints", "services")],
    "seaway:dns": [
        rule(READ, CORE, "endpoints", "namespaces", "nodes", "pods", "services"),
        rule(READ, DISCOVERY, "endpointslices"),
        EVENTS,
    ],
    "seaway:healthcheck": [
        rule(READ, CORE, "services"),
        rule(("get", "list", "patch", "watch"), DISCOVERY, "endpointslices"),
        EVENTS,
    ],
    "seaway:diagnosis": [
        rule(READ, CORE, "namespaces", "pods", "services"),
        rule(("patch",), CORE, "services/status"),
        EVENTS,
    ],
    "system:kube-scheduler": [
        EVENTS,
        rule(CREATE, COORDINATION, "leases"),
        rule(("get", "list", "update", "watch"), COORDINATION, "leases", names=("kube-scheduler",)),
        rule(READ, CORE, "namespaces", "nodes", "persistentvolumeclaims", "persistentvolumes",
             "replicationcontrollers", "services"),
        rule(("delete", "get", "list", "watch"), CORE, "pods"),
        rule(CREATE, CORE, "bindings", "pods/binding"),
        rule(("patch", "update"), CORE, "pods/status"),
        rule(READ, APPS, "replicasets", "statefulsets"),
        rule(READ, POLICY, "poddisruptionbudgets"),
        rule(CREATE, AUTHENTICATION, "tokenreviews"),
        rule(CREATE, AUTHORIZATION, "subjectaccessreviews"),
    ],
    "system:kube-controller-manager": [
        EVENTS,
        rule(CREATE, COORDINATION, "leases"),
        rule(("get", "list", "update", "watch"), COORDINATION, "leases", names=("kube-controller-manager",)),
        rule(CREATE, CORE, "secrets", "serviceaccounts", "serviceaccounts/token"),
        rule(("delete",), CORE, "secrets"),
        rule(GET, CORE, "configmaps", "namespaces", "secrets", "serviceaccounts"),
        rule(("update",), CORE, "secrets", "serviceaccounts"),
        rule(CREATE, AUTHENTICATION, "tokenreviews"),
        rule(CREATE, AUTHORIZATION, "subjectaccessreviews"),
        rule(LIST_WATCH, ANY, "*"),
    ],
    # What a node may do to which object is narrowed in `noderestriction.py`.
    "system:node": [
        rule(CREATE, AUTHENTICATION, "tokenreviews"),
        rule(CREATE, AUTHORIZATION, "localsubjectaccessreviews", "subjectaccessreviews"),
        rule(READ, CORE, "nodes", "pods", "services"),
        rule(("create", "patch", "update"), CORE, "nodes"),
        rule(("patch", "update"), CORE, "nodes/status", "pods/status"),
        rule(("create", "delete"), CORE, "pods"),
        rule(CREATE, CORE, "pods/eviction", "serviceaccounts/token"),
        rule(READ, CORE, "configmaps", "secrets"),
        rule(GET, CORE, "serviceaccounts"),
        rule(("create", "delete", "get", "patch", "update"), COORDINATION, "leases"),
        EVENTS,
    ],
    **{f"{CONTROLLER_PREFIX}{name}": rules for name, rules in CONTROLLER_RULES.items()},
}  # fmt: skip

_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-{}"
AGGREGATED: tuple[str, ...] = ("admin", "edit", "view")
"""Roles that gather: each selects the roles labelled for it."""
ROLE_LABELS: dict[str, dict[str, str]] = {
    "edit": {_AGGREGATE.format("admin"): "true"},
    "view": {_AGGREGATE.format("edit"): "true"},
    **{f"system:aggregate-to-{name}": {_AGGREGATE.format(name): "true"} for name in AGGREGATED},
}


def make_aggregation_rule(name: str) -> Json:
    """Which roles the role of that name gathers."""
    return {"clusterRoleSelectors": [{"matchLabels": {_AGGREGATE.format(name): "true"}}]}


_GROUP, _USER, _ACCOUNT = "Group", "User", "ServiceAccount"
_LOOPS = (_USER, "system:kube-controller-manager")
_AUTHENTICATED, _UNAUTHENTICATED = (_GROUP, "system:authenticated"), (_GROUP, "system:unauthenticated")

BINDINGS: dict[str, tuple[tuple[str, str], ...]] = {
    "cluster-admin": ((_GROUP, "system:masters"),),
    "system:discovery": (_AUTHENTICATED,),
    "system:public-info-viewer": (_AUTHENTICATED, _UNAUTHENTICATED),
    "system:basic-user": (_AUTHENTICATED,),
    "system:monitoring": ((_GROUP, "system:monitoring"),),
    "system:service-account-issuer-discovery": ((_GROUP, "system:serviceaccounts"),),
    "system:node-proxier": ((_USER, "system:kube-proxy"),),
    "system:kube-dns": ((_ACCOUNT, "kube-dns"),),
    "seaway:dns": ((_USER, "seaway:dns"),),
    "seaway:healthcheck": ((_USER, "seaway:healthcheck"), _LOOPS),
    "seaway:diagnosis": (_LOOPS,),
    # One process binds Pods and runs the loops.
    "system:kube-scheduler": ((_USER, "system:kube-scheduler"), _LOOPS),
    "system:kube-controller-manager": (_LOOPS,),
    "system:node": ((_GROUP, "system:nodes"),),
    **{
        f"{CONTROLLER_PREFIX}{name}": ((_ACCOUNT, name), *((_LOOPS,) if name in OWN_LOOPS else ()))
        for name in CONTROLLER_RULES
    },
}
"""Subjects by the role that they are bound to; the binding has the role's name. Accounts are those of kube-system."""
