"""Which kinds a server has, as it tells itself: for loops that must miss none, whatever server they run against.

Of a kind that is served in several versions, the first is taken: the order is the server's preference.
Rule: spec "api-machinery" §3 (discovery).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from seaway.api.machinery.errors import ApiError
from seaway.api.registry import Resource
from seaway.client.requests import Client, TransportError

Json = Mapping[str, Any]

ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
_AGGREGATED = "APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Discovery:
    """The kinds, sorted by group and plural; subresources are not kinds.

    failures: groups of which nothing is known now (`metrics.k8s.io/v1beta1: …`): their server is away.
    """

    resources: tuple[Resource, ...]
    failures: tuple[str, ...] = ()

    def knows(self, resource: Resource) -> bool:
        """Whether a kind that is not among the resources is really not there."""
        return not any(text.partition(":")[0].partition("/")[0] == resource.group for text in self.failures)


async def discover(client: Client) -> Discovery:
    """Ask the server. Raises an ApiError or TransportError when it tells nothing at all."""
    resources: list[Resource] = []
    failures: list[str] = []
    for root in ("/api", "/apis"):
        answer = msgspec.json.decode(await client.send("GET", root, accept=ACCEPT))
        if answer.get("kind") == _AGGREGATED:
            found = parse_aggregated(answer)
            resources.extend(found.resources)
            failures.extend(found.failures)
            continue
        for group_version in parse_group_versions(answer):
            path = f"{root}/{group_version}"
            try:
                resources.extend(parse_resource_list(msgspec.json.decode(await client.send("GET", path))))
            except (ApiError, TransportError) as error:
                failures.append(f"{group_version}: {error}")
    return Discovery(choose_versions(resources), tuple(failures))


def parse_aggregated(document: Json) -> Discovery:
    """Of an APIGroupDiscoveryList: every version of every kind, in the server's order."""
    resources, failures = [], []
    for group in document.get("items") or ():
        name = group.get("metadata", {}).get("name", "")
        for version in group.get("versions") or ():
            if version.get("freshness", "Current") != "Current":
                failures.append(f"{name}/{version['version']}: its server does not answer")
            for row in version.get("resources") or ():
                resources.append(
                    Resource(
                        group=name,
                        version=version["version"],
                        kind=row.get("responseKind", {}).get("kind", ""),
                        plural=row["resource"],
                        singular=row.get("singularResource", ""),
                        namespaced=row.get("scope") == "Namespaced",
                        verbs=tuple(row.get("verbs") or ()),
                    )
                )
    return Discovery(tuple(resources), tuple(failures))


def parse_group_versions(document: Json) -> tuple[str, ...]:
    """Of an APIVersions (`v1`) or an APIGroupList (`apps/v1`): the preferred version of a group first."""
    if document.get("kind") == "APIVersions":
        return tuple(document.get("versions") or ())
    found: list[str] = []
    for group in document.get("groups") or ():
        versions = [version["groupVersion"] for version in group.get("versions") or ()]
        preferred = group.get("preferredVersion", {}).get("groupVersion")
        found.extend(sorted(versions, key=lambda version: version != preferred))
    return tuple(found)


def parse_resource_list(document: Json) -> tuple[Resource, ...]:
    """Of an APIResourceList."""
    group, _, version = document["groupVersion"].rpartition("/")
    return tuple(
        Resource(
            group=group,
            version=version,
            kind=row["kind"],
            plural=row["name"],
            singular=row.get("singularName", ""),
            namespaced=bool(row.get("namespaced")),
            verbs=tuple(row.get("verbs") or ()),
        )
        for row in document.get("resources") or ()
        if "/" not in row["name"]
    )


def choose_versions(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """One version per kind, the first; sorted by group and plural."""
    chosen: dict[tuple[str, str], Resource] = {}
    for resource in resources:
        chosen.setdefault((resource.group, resource.plural), resource)
    return tuple(chosen[key] for key in sorted(chosen))


def select_with_verbs(resources: Sequence[Resource], *verbs: str) -> tuple[Resource, ...]:
    """Those that allow all of the verbs."""
    return tuple(resource for resource in resources if set(verbs) <= set(resource.verbs))
