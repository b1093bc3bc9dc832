"""Pods without namespaces: what they are told instead of what they would find, what is refused, what is left undone.

Rule: issue "userspace data plane", 4; spec "node" §2.9 (REFUSE what would weaken a Pod, say once what is left out).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from seaway.api.service.served import Place, find_place
from seaway.api.service.types import Service, ServicePort
from seaway.net.loopback import LoopbackMap
from seaway.node.envvars import MASTER_NAME, MASTER_NAMESPACE, Locate
from seaway.node.podspec import Container, PodManifest, list_host_ports
from seaway.node.resolvconf import Resolver
from seaway.node.runtime.plain.places import ROOT_VARIABLE, find_nested, place_in

ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where admission mounts the token of the account. Rule: Kubernetes, "Configure Service Accounts for Pods"."""
KUBECONFIG_PATH = "/.kube/config"
RESOLVER_PATH = "/etc/resolv.conf"
API_SERVER_NAME = "kubernetes.default.svc"
"""A name in the API server's certificate: its loopback address is in none."""
DNS_PORT = 53
NET_BIND_SERVICE = 10
HARMLESS_CAPABILITIES = frozenset(("NET_BIND_SERVICE",))
"""A port that may not be bound is an error that the program tells itself."""


def make_locator(loopback: LoopbackMap, first_free_port: int) -> Locate:
    """Where programs of this host reach a port of a Service, also before it is served."""

    def locate(service: Service, port: ServicePort) -> Place:
        return find_place(service, port, loopback, first_free_port=first_free_port)

    return locate


def find_dns_place(services: Iterable[Service], dns_ip: str, locate: Locate) -> Place | None:
    """Where the cluster's DNS answers; None: no Service has the address."""
    for service in services:
        for port in service.spec.ports:
            if service.spec.cluster_ip == dns_ip and port.port == DNS_PORT and port.protocol == "UDP":
                return locate(service, port)
    return None


def make_own_variables(
    container: Container,
    root: Path,
    *,
    addresses: Sequence[str],
    resolver: Resolver,
    dns: Place | None,
    has_cluster_resolver: bool,
) -> dict[str, str]:
    """What the program is told of what it cannot find: the Pod's own variables come before these.

    addresses: the Pod's, on loopback. resolver: what its resolv.conf says. has_cluster_resolver: the host's own asks
    the cluster's DNS: only then names of the cluster are looked up by it, and search lists are of use.
    """
    found = {
        "POD_IP": addresses[0] if addresses else "",
        "POD_IPS": ",".join(addresses),
        ROOT_VARIABLE: str(root),
        "SEAWAY_RESOLV_CONF": str(place_in(root, RESOLVER_PATH)),
    }
    if container.termination_message_path:
        found["SEAWAY_TERMINATION_LOG"] = str(place_in(root, container.termination_message_path))
    if dns is not None:
        found["SEAWAY_DNS"] = f"{dns[0]}:{dns[1]}"
    if has_cluster_resolver:
        found["LOCALDOMAIN"] = " ".join(resolver.searches)
        found["RES_OPTIONS"] = " ".join(resolver.options)
    if has_account(container):
        found["SEAWAY_SERVICEACCOUNT"] = str(place_in(root, ACCOUNT_PATH))
        found["KUBECONFIG"] = str(place_in(root, KUBECONFIG_PATH))
    return found


def has_capability(status: str, number: int) -> bool:
    """By the text of `/proc/PID/status`: root has it only where nobody took it away."""
    words = next((line.split() for line in status.splitlines() if line.startswith("CapEff:")), ["", "0"])
    return bool(int(words[1], 16) >> number & 1)


def has_account(container: Container) -> bool:
    """The container is given the files of its account."""
    return any(mount.mount_path.rstrip("/") == ACCOUNT_PATH for mount in container.volume_mounts)


def render_kubeconfig(root: Path, namespace: str, services: Iterable[Service], locate: Locate) -> str:
    """The API as the account of the Pod, for clients that would look for its files at a fixed path; "": no API known.

    The token is named by its file, which is renewed. JSON is YAML.
    """
    for service in services:
        meta = service.metadata
        if (meta.namespace, meta.name) == (MASTER_NAMESPACE, MASTER_NAME) and service.spec.ports:
            address, port = locate(service, service.spec.ports[0])
            break
    else:
        return ""
    files = place_in(root, ACCOUNT_PATH)
    cluster = {
        "server": f"https://{address}:{port}",
        "certificate-authority": str(files / "ca.crt"),
        "tls-server-name": API_SERVER_NAME,
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "seaway", "cluster": cluster}],
        "users": [{"name": "pod", "user": {"tokenFile": str(files / "token")}}],
        "contexts": [{"name": "pod", "context": {"cluster": "seaway", "user": "pod", "namespace": namespace}}],
        "current-context": "pod",
    }
    return json.dumps(config, indent=1) + "\n"


def find_unisolated_refusal(pod: PodManifest, *, user: int, group: int) -> str:
    """Why the Pod cannot be a plain process of the user that the agent is, or "".

    Debuggers that come later do not count: the Pod runs already.
    """
    return next(_list_refusals(pod, user, group), "")


def _list_refusals(pod: PodManifest, user: int, group: int) -> Iterator[str]:
    security = pod.spec.security_context
    if security is not None and security.sysctls:
        yield f"sysctl {security.sysctls[0].name}: a Pod has no network of its own on this node"
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        contexts = [each for each in (container.security_context, security) if each is not None]
        wanted = next((each.run_as_user for each in contexts if each.run_as_user is not None), user)
        wanted_group = next((each.run_as_group for each in contexts if each.run_as_group is not None), group)
        non_root = next((each.run_as_non_root for each in contexts if each.run_as_non_root is not None), False)
        if (wanted, wanted_group) != (user, group):
            yield (
                f"container {container.name}: user {wanted} and group {wanted_group} found; "
                f"all Pods of this node run as its agent does, user {user} and group {group}; leave them out"
            )
        if non_root and user == 0:
            yield f"container {container.name}: runAsNonRoot, and all Pods of this node run as its agent does, as root"
        capabilities = container.security_context.capabilities if container.security_context else None
        for name in capabilities.add if capabilities else ():
            if name.removeprefix("CAP_") not in HARMLESS_CAPABILITIES:
                yield f"container {container.name}: capability {name}: not given on this node; leave it out"
        nested = find_nested(mount.mount_path for mount in container.volume_mounts)
        if nested is not None:
            yield (
                f"container {container.name}: mountPath {nested[0]} lies in mountPath {nested[1]}: "
                "without a mount namespace a mount is a link; choose paths beside each other"
            )


def find_unisolated_gaps(pod: PodManifest) -> str:
    """What of the Pod is left undone or is elsewhere, as one sentence for a Normal event; "" when nothing is."""
    found = tuple(dict.fromkeys(_list_gaps(pod)))
    return f"this node has no namespaces: {'; '.join(found)}" if found else ""


def _list_gaps(pod: PodManifest) -> Iterator[str]:
    for container in pod.every_container:
        for mount in container.volume_mounts:
            if mount.mount_path.rstrip("/") != ACCOUNT_PATH:
                note = ", and can be written" if mount.read_only else ""
                yield f"{mount.mount_path} of container {container.name} is ${ROOT_VARIABLE}{mount.mount_path}{note}"
        security = container.security_context
        if security is not None and security.read_only_root_filesystem:
            yield f"the file system of container {container.name} is not read-only"
        if security is not None and security.capabilities and security.capabilities.add:
            yield f"capabilities of container {container.name} are not given"
    for volume in pod.spec.volumes:
        if volume.empty_dir is not None and volume.empty_dir.medium == "Memory":
            yield f"volume {volume.name} lies on disk"
    if not pod.spec.host_network:
        for protocol, _, port in list_host_ports(pod):
            yield f"hostPort {port}/{protocol} is not served"
    if pod.spec.host_aliases:
        yield f"hostAliases are in ${ROOT_VARIABLE}/etc/hosts, which no program reads by itself"


def asks_cluster(nameservers: Iterable[str], dns: Place | None) -> bool:
    """The host's resolver asks the cluster's DNS, which can only be at the usual port."""
    return dns is not None and dns[1] == DNS_PORT and dns[0] in tuple(nameservers)
