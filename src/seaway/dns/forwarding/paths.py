"""The search list walked by the server: one query and one answer where a client's resolver would send five.

A client in namespace NS has `search NS.svc.Z svc.Z Z …`; a name below the first suffix is the first guess of a walk,
and only the source address says whose it is. Rule: spec "discovery" A3.6 (autopath).
"""

from __future__ import annotations

from seaway.dns.objects import Pod
from seaway.dns.records import Name


def split_first_guess(name: Name, namespace: str, zone: Name) -> Name:
    """What the client is looking for, when the name is that below `NS.svc.Z`; else nothing. All in lower case."""
    suffix = (namespace.encode(), b"svc", *zone)
    base = name[: len(name) - len(suffix)]
    return base if namespace and base and name[len(base) :] == suffix else ()


def list_guesses(base: Name, zone: Name, host_suffixes: tuple[Name, ...]) -> tuple[Name, ...]:
    """What the client's resolver would ask next, in order: the name itself comes last."""
    return tuple((*base, *suffix) for suffix in ((b"svc", *zone), zone, *host_suffixes, ()))


class PodNamespaces:
    """Whose address is whose namespace's; an address that two namespaces seem to have is nobody's."""

    def __init__(self) -> None:
        self._namespaces: dict[str, set[tuple[str, str]]] = {}

    def apply(self, old: Pod | None, new: Pod | None) -> None:
        """Take a Pod's change in. Pods on the host's network share an address, and often have no namespace here."""
        for pod, is_there in ((old, False), (new, True)):
            if pod is None:
                continue
            key = pod.metadata.namespace, pod.metadata.name
            for address in _addresses_of(pod):
                owners = self._namespaces.setdefault(address, set())
                if is_there:
                    owners.add(key)
                else:
                    owners.discard(key)
                if not owners:
                    del self._namespaces[address]

    def find(self, address: str) -> str:
        """The namespace, or ""."""
        found = {namespace for namespace, _ in self._namespaces.get(address, ())}
        return found.pop() if len(found) == 1 else ""


def _addresses_of(pod: Pod) -> tuple[str, ...]:
    return (pod.status.pod_ip,) if pod.status.pod_ip else ()
