"""The only list of kinds. A kind with rules of its own names a folder; one that is only stored is a row."""

from __future__ import annotations

import functools
import importlib
from dataclasses import dataclass, replace

from seaway.api.machinery.strategy import Strategy

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
READ_VERBS = ("get", "list", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One kind as the API serves it."""

    kind: str
    plural: str
    singular: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    folder: str = ""
    """The folder under `seaway.api` with `strategy.py` and, if the kind has any, `columns.py`; empty: only stored."""
    verbs: tuple[str, ...] = ALL_VERBS
    """What may be done to the resource itself; a kind that is shown and never kept has fewer."""
    stored_as: Resource | None = None
    """The row whose stored objects these are, in a form of this row's own (`conversion.py` of the folder)."""

    @property
    def is_stored(self) -> bool:
        """False for a question: it is POSTed, answered and forgotten, with no store and no watch behind it."""
        return self.verbs != ("create",)

    @property
    def api_version(self) -> str:
        """`v1` or `discovery.k8s.io/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path_prefix(self) -> str:
        """`/api/v1` or `/apis/discovery.k8s.io/v1`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def store_prefix(self) -> str:
        """Where the store keeps objects: `/registry/core/services/`, then `namespace/name` or `name`."""
        home = self.stored_as or self
        return f"/registry/{home.group or 'core'}/{home.plural}/"

    @property
    def storage(self) -> Resource:
        """The row that is written to: itself, or that of another group with the rules of this one."""
        return self if self.stored_as is None else _storage_row(self)

    @property
    def strategy(self) -> Strategy:
        """The rules of the kind, imported on first use: only the API server needs them."""
        return _load_strategy(self.folder)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The request path of the collection, the object or its subresource. Names are taken as they are."""
        parts = [self.path_prefix]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        parts.extend(part for part in (name, subresource) if part)
        return "/".join(parts)

    def store_key(self, namespace: str, name: str) -> str:
        """The key of one object in the store."""
        return f"{self.store_prefix}{namespace}/{name}" if self.namespaced else f"{self.store_prefix}{name}"


@functools.cache
def _storage_row(resource: Resource) -> Resource:
    assert resource.stored_as is not None
    return replace(resource.stored_as, folder=resource.folder)


@functools.cache
def _load_strategy(folder: str) -> Strategy:
    if not folder:
        return Strategy()
    strategy: Strategy = importlib.import_module(f"seaway.api.{folder}.strategy").STRATEGY
    return strategy


SERVICES = Resource(kind="Service", plural="services", singular="service", short_names=("svc",), categories=("all",),
                    subresources=("status", "proxy"), folder="service")  # fmt: skip
PODS = Resource(kind="Pod", plural="pods", singular="pod", short_names=("po",), categories=("all",),
                subresources=("status", "proxy", "binding", "eviction", "ephemeralcontainers",
                              "log", "exec", "attach", "portforward"),
                folder="pod")  # fmt: skip
NODES = Resource(kind="Node", plural="nodes", singular="node", namespaced=False, short_names=("no",),
                 subresources=("status", "proxy"), folder="node")  # fmt: skip
NAMESPACES = Resource(kind="Namespace", plural="namespaces", singular="namespace", namespaced=False,
                      short_names=("ns",), subresources=("status", "finalize"), folder="namespace",
                      verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"))  # fmt: skip
ENDPOINTS = Resource(kind="Endpoints", plural="endpoints", singular="endpoints", short_names=("ep",),
                     folder="endpoints")  # fmt: skip
EVENTS = Resource(kind="Event", plural="events", singular="event", short_names=("ev",), folder="event")
CONFIG_MAPS = Resource(kind="ConfigMap", plural="configmaps", singular="configmap", short_names=("cm",),
                       folder="configmap")  # fmt: skip
SECRETS = Resource(kind="Secret", plural="secrets", singular="secret", folder="secret")
SERVICE_ACCOUNTS = Resource(kind="ServiceAccount", plural="serviceaccounts", singular="serviceaccount",
                            short_names=("sa",), subresources=("token",), folder="serviceaccount")  # fmt: skip
ENDPOINT_SLICES = Resource(group="discovery.k8s.io", kind="EndpointSlice", plural="endpointslices",
                           singular="endpointslice", folder="endpointslice")  # fmt: skip
EVENTS_OF_GROUP = Resource(group="events.k8s.io", kind="Event", plural="events", singular="event", short_names=("ev",),
                           folder="events_k8s_io", stored_as=EVENTS)  # fmt: skip
LEASES = Resource(group="coordination.k8s.io", kind="Lease", plural="leases", singular="lease", folder="lease")
IP_ADDRESSES = Resource(group="networking.k8s.io", kind="IPAddress", plural="ipaddresses", singular="ipaddress",
                        namespaced=False, short_names=("ip",), folder="ipaddress")  # fmt: skip
CLUSTER_ROLES = Resource(group="rbac.authorization.k8s.io", kind="ClusterRole", plural="clusterroles",
                         singular="clusterrole", namespaced=False, folder="role")  # fmt: skip
CLUSTER_ROLE_BINDINGS = Resource(group="rbac.authorization.k8s.io", kind="ClusterRoleBinding",
                                 plural="clusterrolebindings", singular="clusterrolebinding",
                                 namespaced=False, folder="rbac")  # fmt: skip
ROLES = Resource(group="rbac.authorization.k8s.io", kind="Role", plural="roles", singular="role", folder="role")
ROLE_BINDINGS = Resource(group="rbac.authorization.k8s.io", kind="RoleBinding", plural="rolebindings",
                         singular="rolebinding", folder="rbac")  # fmt: skip
REPLICATION_CONTROLLERS = Resource(kind="ReplicationController", plural="replicationcontrollers",
                                   singular="replicationcontroller", short_names=("rc",), categories=("all",),
                                   subresources=("status", "scale"), folder="replicationcontroller")  # fmt: skip
RESOURCE_QUOTAS = Resource(kind="ResourceQuota", plural="resourcequotas", singular="resourcequota",
                           short_names=("quota",), subresources=("status",), folder="resourcequota")  # fmt: skip
LIMIT_RANGES = Resource(
    kind="LimitRange", plural="limitranges", singular="limitrange", short_names=("limits",), folder="limitrange"
)
POD_TEMPLATES = Resource(kind="PodTemplate", plural="podtemplates", singular="podtemplate", folder="podtemplate")
PERSISTENT_VOLUMES = Resource(kind="PersistentVolume", plural="persistentvolumes", singular="persistentvolume",
                              namespaced=False, short_names=("pv",), subresources=("status",),
                              folder="persistentvolume")  # fmt: skip
PERSISTENT_VOLUME_CLAIMS = Resource(kind="PersistentVolumeClaim", plural="persistentvolumeclaims",
                                    singular="persistentvolumeclaim", short_names=("pvc",),
                                    subresources=("status",), folder="persistentvolumeclaim")  # fmt: skip
API_SERVICES = Resource(group="apiregistration.k8s.io", kind="APIService", plural="apiservices",
                        singular="apiservice", namespaced=False, categories=("api-extensions",),
                        verbs=READ_VERBS)  # fmt: skip
DEPLOYMENTS = Resource(group="apps", kind="Deployment", plural="deployments", singular="deployment",
                       short_names=("deploy",), categories=("all",), subresources=("status", "scale"),
                       folder="deployment")  # fmt: skip
REPLICA_SETS = Resource(group="apps", kind="ReplicaSet", plural="replicasets", singular="replicaset",
                        short_names=("rs",), categories=("all",), subresources=("status", "scale"),
                        folder="replicaset")  # fmt: skip
STATEFUL_SETS = Resource(group="apps", kind="StatefulSet", plural="statefulsets", singular="statefulset",
                         short_names=("sts",), categories=("all",), subresources=("status", "scale"),
                         folder="statefulset")  # fmt: skip
DAEMON_SETS = Resource(group="apps", kind="DaemonSet", plural="daemonsets", singular="daemonset",
                       short_names=("ds",), categories=("all",), subresources=("status",),
                       folder="daemonset")  # fmt: skip
CONTROLLER_REVISIONS = Resource(group="apps", kind="ControllerRevision", plural="controllerrevisions",
                                singular="controllerrevision", folder="controllerrevision")  # fmt: skip
JOBS = Resource(group="batch", kind="Job", plural="jobs", singular="job", categories=("all",),
                subresources=("status",), folder="job")  # fmt: skip
CRON_JOBS = Resource(group="batch", kind="CronJob", plural="cronjobs", singular="cronjob", short_names=("cj",),
                     categories=("all",), subresources=("status",), folder="cronjob")  # fmt: skip
INGRESSES = Resource(group="networking.k8s.io", kind="Ingress", plural="ingresses", singular="ingress",
                     short_names=("ing",), subresources=("status",), folder="ingress")  # fmt: skip
INGRESS_CLASSES = Resource(group="networking.k8s.io", kind="IngressClass", plural="ingressclasses",
                           singular="ingressclass", namespaced=False, folder="ingressclass")  # fmt: skip
NETWORK_POLICIES = Resource(group="networking.k8s.io", kind="NetworkPolicy", plural="networkpolicies",
                            singular="networkpolicy", short_names=("netpol",), folder="networkpolicy")  # fmt: skip
SERVICE_CIDRS = Resource(group="networking.k8s.io", kind="ServiceCIDR", plural="servicecidrs", singular="servicecidr",
                         namespaced=False, subresources=("status",), folder="servicecidr")  # fmt: skip
POD_DISRUPTION_BUDGETS = Resource(group="policy", kind="PodDisruptionBudget", plural="poddisruptionbudgets",
                                  singular="poddisruptionbudget", short_names=("pdb",),
                                  subresources=("status",), folder="poddisruptionbudget")  # fmt: skip
STORAGE_CLASSES = Resource(group="storage.k8s.io", kind="StorageClass", plural="storageclasses",
                           singular="storageclass", namespaced=False, short_names=("sc",),
                           folder="storageclass")  # fmt: skip
PRIORITY_CLASSES = Resource(group="scheduling.k8s.io", kind="PriorityClass", plural="priorityclasses",
                            singular="priorityclass", namespaced=False, short_names=("pc",),
                            folder="priorityclass")  # fmt: skip
CUSTOM_RESOURCE_DEFINITIONS = Resource(group="apiextensions.k8s.io", kind="CustomResourceDefinition",
                                       plural="customresourcedefinitions", singular="customresourcedefinition",
                                       namespaced=False, short_names=("crd", "crds"), categories=("api-extensions",),
                                       verbs=READ_VERBS)  # fmt: skip

SCALES = Resource(group="autoscaling", kind="Scale", plural="scales", singular="scale", verbs=(), folder="scale")
EVICTIONS = Resource(group="policy", kind="Eviction", plural="evictions", singular="eviction", verbs=())
TOKEN_REQUESTS = Resource(group="authentication.k8s.io", kind="TokenRequest", plural="tokenrequests",
                          singular="tokenrequest", verbs=())  # fmt: skip
BINDINGS = Resource(kind="Binding", plural="bindings", singular="binding", verbs=("create",))
"""What subresources speak of. Nothing of these kinds is stored, so they are no rows of the list."""

RESOURCES: tuple[Resource, ...] = (
    SERVICES, PODS, NODES, NAMESPACES, ENDPOINTS, EVENTS, CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS,
    REPLICATION_CONTROLLERS, RESOURCE_QUOTAS, LIMIT_RANGES, POD_TEMPLATES, PERSISTENT_VOLUMES,
    PERSISTENT_VOLUME_CLAIMS,
    API_SERVICES,
    DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, CONTROLLER_REVISIONS,
    EVENTS_OF_GROUP,
    JOBS, CRON_JOBS,
    INGRESSES, INGRESS_CLASSES, NETWORK_POLICIES, SERVICE_CIDRS, IP_ADDRESSES,
    POD_DISRUPTION_BUDGETS,
    CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS,
    STORAGE_CLASSES,
    CUSTOM_RESOURCE_DEFINITIONS,
    PRIORITY_CLASSES,
    LEASES,
    ENDPOINT_SLICES,
)  # fmt: skip
"""Groups stand in the order in which clients try them for a bare name, as upstream orders them."""


def _review(group: str, kind: str, *, namespaced: bool = False) -> Resource:
    name = kind.lower()
    return Resource(group=group, kind=kind, plural=f"{name}s", singular=name, namespaced=namespaced, verbs=("create",))


TOKEN_REVIEWS = _review("authentication.k8s.io", "TokenReview")
SELF_SUBJECT_REVIEWS = _review("authentication.k8s.io", "SelfSubjectReview")
SUBJECT_ACCESS_REVIEWS = _review("authorization.k8s.io", "SubjectAccessReview")
SELF_SUBJECT_ACCESS_REVIEWS = _review("authorization.k8s.io", "SelfSubjectAccessReview")
LOCAL_SUBJECT_ACCESS_REVIEWS = _review("authorization.k8s.io", "LocalSubjectAccessReview", namespaced=True)
SELF_SUBJECT_RULES_REVIEWS = _review("authorization.k8s.io", "SelfSubjectRulesReview")

REVIEWS: tuple[Resource, ...] = (
    TOKEN_REVIEWS, SELF_SUBJECT_REVIEWS, SUBJECT_ACCESS_REVIEWS, SELF_SUBJECT_ACCESS_REVIEWS,
    LOCAL_SUBJECT_ACCESS_REVIEWS, SELF_SUBJECT_RULES_REVIEWS,
)  # fmt: skip
SERVED: tuple[Resource, ...] = (*RESOURCES, BINDINGS, *REVIEWS)
"""What the API has paths for: the kinds of the store, and what is said or asked and not kept."""

_BY_PATH = {(r.group, r.version, r.plural): r for r in SERVED}


def find_resource(group: str, version: str, plural: str) -> Resource | None:
    """The resource that a path names, or None."""
    return _BY_PATH.get((group, version, plural))
