"""What upstream's end-to-end tests of the network ask of the control loops in particular: a scenario for each.

Each does to the API what the test does, with the API server in memory and a node's agent that is played, and looks at
slices and Endpoints where the test sends packets. `docs/conformance.md` names which test rests on which scenario.
Rule: spec "controllers" §7.11.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from seaway.api.endpointslice.types import EndpointSlice
from seaway.api.machinery.errors import NotFound
from seaway.api.registry import DAEMON_SETS, ENDPOINT_SLICES, ENDPOINTS, NODES, PODS, SERVICES
from seaway.apiserver.config import ServerConfig
from seaway.testing.builders import make_pod, make_service, make_slice
from seaway.testing.clock import run_virtually
from seaway.testing.cluster import Cluster, open_cluster
from tests.scenarios.test_control_loops import create_node, list_slices

Json = dict[str, Any]
Scenario = Callable[["World"], Awaitable[None]]
TCP80: list[Json] = [{"name": "http", "port": 80, "targetPort": 9376, "protocol": "TCP"}]
DUAL = ServerConfig(service_cidrs=("10.96.0.0/16", "fd10:96::/112"))


class World:
    """A cluster with one node, and whoever acts in it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.client = cluster, cluster.client()
        self._count = 0

    async def serve(self, name: str = "web", **spec: Any) -> Json:
        return await self.client.create(SERVICES, make_service(name, **{"ports": TCP80, **spec}), "default")

    async def change(self, name: str = "web", **spec: Any) -> None:
        await self.client.patch(SERVICES, name, "default", patch={"spec": spec})

    async def run(
        self, name: str, *, ready: bool = True, ips: tuple[str, ...] = (), labels: Json | None = None, **spec: Any
    ) -> str:
        """A Pod as its agent has it, by default one that `web` selects; its first address."""
        self._count += 1
        addresses = ips or (f"10.244.0.{self._count}",)
        await self.client.create(
            PODS, make_pod(name, labels=labels or {"app": "web"}, nodeName="n1", **spec), "default"
        )
        await self.report(name, ready=ready, ips=addresses)
        return addresses[0]

    async def report(self, name: str, *, ready: bool, ips: tuple[str, ...] = (), phase: str = "Running") -> None:
        """What the agent says of the Pod."""
        live: Json = await self.client.get(PODS, name, "default", as_type=dict)
        known = tuple(ip["ip"] for ip in live.get("status", {}).get("podIPs", ()))
        status = make_pod(name, ip=(ips or known)[0], ready=ready)["status"]
        status |= {"phase": phase, "podIPs": [{"ip": ip} for ip in ips or known]}
        await self.client.update(PODS, {**live, "status": status}, subresource="status")

    async def end(self, name: str, *, grace_seconds: int = 0) -> None:
        await self.client.delete(PODS, name, "default", options={"gracePeriodSeconds": grace_seconds})

    async def told(self, service: str = "web") -> dict[str, list[str]]:
        """By address: `PORTNAME=NUMBER` for each port, and `ready`, `serving`, `terminating` as far as they hold."""
        found: dict[str, list[str]] = {}
        for piece in await list_slices(self.client, service):
            for endpoint in piece.endpoints or ():
                for address in endpoint.addresses:
                    found.setdefault(address, []).extend(describe(piece, endpoint))
        return {address: sorted(set(words)) for address, words in sorted(found.items())}

    async def expect(self, wanted: dict[str, list[str]], service: str = "web") -> None:
        expected = {address: sorted(words) for address, words in wanted.items()}

        async def check() -> bool:
            return await self.told(service) == expected

        try:
            await self.cluster.eventually(check, timeout_seconds=60)
        except TimeoutError:
            assert await self.told(service) == expected
            raise


def describe(piece: EndpointSlice, endpoint: Any) -> list[str]:
    words = [f"{port.name}={port.port}/{port.protocol}" for port in piece.ports or ()]
    conditions = endpoint.conditions
    words += [name for name in ("ready", "serving", "terminating") if getattr(conditions, name)]
    return words


UP = ["ready", "serving"]


def play(scenario: Scenario, *, config: ServerConfig | None = None) -> None:
    async def main() -> None:
        async with open_cluster(config=config) as cluster:
            await cluster.start_controllers(node_grace_seconds=1e6)
            world = World(cluster)
            await create_node(world.client, "n1")
            await scenario(world)

    run_virtually(main())


def test_pods_that_come_and_go_one_by_one_are_the_endpoints() -> None:
    async def scenario(world: World) -> None:
        await world.serve()
        one = await world.run("one")
        await world.expect({one: ["http=9376/TCP", *UP]})
        two = await world.run("two")
        await world.expect({one: ["http=9376/TCP", *UP], two: ["http=9376/TCP", *UP]})
        await world.end("one")
        await world.expect({two: ["http=9376/TCP", *UP]})
        await world.end("two")
        await world.expect({})

    play(scenario)


def test_a_port_that_only_one_pod_has_is_of_that_pod_alone() -> None:
    async def scenario(world: World) -> None:
        ports = [{"name": f"p{n}", "port": 80 + n, "targetPort": f"portname{n}", "protocol": "TCP"} for n in (1, 2)]
        await world.serve(ports=ports)
        one = await world.run("one", containers=[container(portname1=100)])
        two = await world.run("two", containers=[container(portname2=101)])
        await world.expect({one: ["p1=100/TCP", *UP], two: ["p2=101/TCP", *UP]})
        assert len(await list_slices(world.client)) == 2
        await world.end("one")
        await world.expect({two: ["p2=101/TCP", *UP]})

    play(scenario)


def container(*, protocol: str = "TCP", name: str = "main", **ports: int) -> Json:
    declared = [{"name": key, "containerPort": number, "protocol": protocol} for key, number in ports.items()]
    return {"name": name, "image": "program", "ports": declared}


def test_a_port_of_the_service_that_is_added_or_removed_is_followed() -> None:
    async def scenario(world: World) -> None:
        await world.serve()
        one = await world.run("one")
        more = [*TCP80, {"name": "extra", "port": 81, "targetPort": 9377, "protocol": "TCP"}]
        await world.change(ports=more)
        await world.expect({one: ["extra=9377/TCP", "http=9376/TCP", *UP]})
        await world.change(ports=more[1:])
        await world.expect({one: ["extra=9377/TCP", *UP]})

    play(scenario)


def test_one_number_with_two_protocols_is_two_ports_until_one_goes() -> None:
    async def scenario(world: World) -> None:
        both = [
            {"name": f"p-{protocol.lower()}", "port": 80, "targetPort": 80, "protocol": protocol}
            for protocol in ("TCP", "UDP")
        ]
        await world.serve(ports=both)
        one = await world.run("one")
        await world.expect({one: ["p-tcp=80/TCP", "p-udp=80/UDP", *UP]})
        await world.change(ports=both[:1])
        await world.expect({one: ["p-tcp=80/TCP", *UP]})

    play(scenario)


def test_sctp_is_a_protocol_like_the_others() -> None:
    async def scenario(world: World) -> None:
        await world.serve(ports=[{"name": "s", "port": 5060, "protocol": "SCTP", "targetPort": 5060}])
        one = await world.run("one")
        await world.expect({one: ["s=5060/SCTP", *UP]})

    play(scenario)


def test_named_ports_that_resolve_differently_and_change_with_a_pod_of_the_same_name() -> None:
    async def scenario(world: World) -> None:
        ports = [{"name": "http", "port": 80, "targetPort": "web-port", "protocol": "TCP"}]
        await world.serve(ports=ports)
        one = await world.run("one", containers=[container(**{"web-port": 8080})])
        two = await world.run("two", containers=[container(**{"web-port": 8081})])
        await world.expect({one: ["http=8080/TCP", *UP], two: ["http=8081/TCP", *UP]})
        await world.end("two")
        three = await world.run("two", containers=[container(**{"web-port": 8082})])
        await world.expect({one: ["http=8080/TCP", *UP], three: ["http=8082/TCP", *UP]})

    play(scenario)


def test_a_named_port_is_found_in_a_sidecar() -> None:
    async def scenario(world: World) -> None:
        ports = [{"name": "http", "port": 80, "targetPort": "side", "protocol": "TCP"}]
        await world.serve(ports=ports)
        sidecar = {**container(name="sidecar", side=9090), "restartPolicy": "Always"}
        one = await world.run("one", initContainers=[sidecar])
        await world.expect({one: ["http=9090/TCP", *UP]})

    play(scenario)


def test_unready_and_terminating_pods_are_ready_when_the_service_publishes_them() -> None:
    async def scenario(world: World) -> None:
        await world.serve(publishNotReadyAddresses=True)
        one = await world.run("one", ready=False)
        await world.expect({one: ["http=9376/TCP", "ready"]})
        await world.end("one", grace_seconds=600)
        await world.expect({one: ["http=9376/TCP", "ready", "terminating"]})

    play(scenario)


def test_a_terminating_pod_serves_while_its_probe_says_so_and_is_never_ready() -> None:
    async def scenario(world: World) -> None:
        await world.serve()
        one = await world.run("one")
        await world.end("one", grace_seconds=600)
        await world.expect({one: ["http=9376/TCP", "serving", "terminating"]})
        await world.report("one", ready=False)
        await world.expect({one: ["http=9376/TCP", "terminating"]})
        await world.end("one")
        await world.expect({})

    play(scenario)


def test_an_evicted_pod_is_no_endpoint_even_of_a_service_that_publishes_unready_ones() -> None:
    async def scenario(world: World) -> None:
        await world.serve(publishNotReadyAddresses=True)
        one = await world.run("one")
        await world.expect({one: ["http=9376/TCP", *UP]})
        await world.report("one", ready=False, phase="Failed")
        await world.expect({})
        assert len(await list_slices(world.client)) == 1, "and the Service is refused, not unknown"

    play(scenario)


def test_readiness_that_comes_later_is_followed_and_so_is_a_switch_between_two_versions() -> None:
    async def scenario(world: World) -> None:
        await world.serve()
        blue, green = await world.run("blue"), await world.run("green", ready=False)
        await world.expect({blue: ["http=9376/TCP", *UP], green: ["http=9376/TCP"]})
        await world.report("green", ready=True)
        await world.expect({blue: ["http=9376/TCP", *UP], green: ["http=9376/TCP", *UP]})
        await world.report("blue", ready=False)
        await world.expect({blue: ["http=9376/TCP"], green: ["http=9376/TCP", *UP]})

    play(scenario)


def test_a_service_that_changes_from_external_name_to_cluster_ip_gets_endpoints_and_back_keeps_them() -> None:
    async def scenario(world: World) -> None:
        external = {"type": "ExternalName", "externalName": "example.com"}
        body = make_service("web", **external)
        body["spec"].pop("ports")
        await world.client.create(SERVICES, body, "default")
        one = await world.run("one")
        await asyncio.sleep(5)
        assert await list_slices(world.client) == []
        await world.change(type="NodePort", externalName=None, ports=TCP80)
        await world.expect({one: ["http=9376/TCP", *UP]})
        await world.change(**external, clusterIP=None, clusterIPs=None, ports=None)
        await asyncio.sleep(5)
        assert one in await world.told(), "they go with the Service"

    play(scenario)


def test_the_type_of_a_service_does_not_touch_its_endpoints() -> None:
    async def scenario(world: World) -> None:
        await world.serve()
        one = await world.run("one")
        await world.expect({one: ["http=9376/TCP", *UP]})
        (before,) = await list_slices(world.client)
        for kind in ("NodePort", "LoadBalancer", "ClusterIP"):
            await world.change(type=kind, sessionAffinity="ClientIP" if kind == "NodePort" else "None")
            await asyncio.sleep(5)
        assert [s.metadata.resource_version for s in await list_slices(world.client)] == [
            before.metadata.resource_version
        ]

    play(scenario)


def test_services_that_share_pods_have_endpoints_each_until_they_are_deleted() -> None:
    async def scenario(world: World) -> None:
        await world.serve("web")
        await world.serve("other", selector={"app": "web"})
        one = await world.run("one")
        for name in ("web", "other"):
            await world.expect({one: ["http=9376/TCP", *UP]}, name)
        await world.client.delete(SERVICES, "web", "default")

        async def is_gone() -> bool:
            return not await list_slices(world.client, "web")

        await world.cluster.eventually(is_gone, timeout_seconds=90)
        await world.expect({one: ["http=9376/TCP", *UP]}, "other")

    play(scenario)


def test_a_service_that_is_made_again_under_its_name_has_its_endpoints_again() -> None:
    async def scenario(world: World) -> None:
        await world.serve()
        one = await world.run("one")
        await world.expect({one: ["http=9376/TCP", *UP]})
        await world.client.delete(SERVICES, "web", "default")
        again = await world.serve()
        await world.expect({one: ["http=9376/TCP", *UP]})

        async def is_owned() -> bool:
            owners = {ref.uid for s in await list_slices(world.client) for ref in s.metadata.owner_references}
            return owners == {again["metadata"]["uid"]}

        await world.cluster.eventually(is_owned, timeout_seconds=90)

    play(scenario)


def test_a_pod_with_a_host_name_in_the_services_subdomain_has_it_in_its_endpoint() -> None:
    async def scenario(world: World) -> None:
        await world.serve("sub", clusterIP="None", selector={"app": "web"})
        await world.run("one", hostname="first", subdomain="sub")
        await world.run("two", hostname="second", subdomain="elsewhere")

        async def names() -> bool:
            found = [e.hostname for s in await list_slices(world.client, "sub") for e in s.endpoints or ()]
            return sorted(name or "" for name in found) == ["", "first"]

        await world.cluster.eventually(names)
        (piece,) = await list_slices(world.client, "sub")
        assert piece.metadata.labels["service.kubernetes.io/headless"] == ""

    play(scenario)


def test_each_family_of_a_service_has_the_addresses_of_its_family() -> None:
    async def scenario(world: World) -> None:
        await world.serve("four", selector={"app": "web"}, ipFamilies=["IPv4"])
        await world.serve("six", selector={"app": "web"}, ipFamilies=["IPv6"])
        await world.serve("both", selector={"app": "web"}, ipFamilyPolicy="RequireDualStack")
        await world.run("one", ips=("10.244.0.9", "fd10:244::9"))
        up = ["http=9376/TCP", *UP]
        await world.expect({"10.244.0.9": up}, "four")
        await world.expect({"fd10:244::9": up}, "six")
        await world.expect({"10.244.0.9": up, "fd10:244::9": up}, "both")
        kinds = sorted(s.address_type for s in await list_slices(world.client, "both"))
        assert kinds == ["IPv4", "IPv6"]

    play(scenario, config=DUAL)


def test_slices_that_a_test_makes_by_hand_stay_as_they_are() -> None:
    async def scenario(world: World) -> None:
        body = make_service("web", ports=TCP80)
        body["spec"].pop("selector")
        await world.client.create(SERVICES, body, "default")
        for number in (1, 2):
            piece = make_slice(f"by-hand-{number}", "web", [f"10.0.0.{number}"])
            piece["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] = "e2e-test"
            await world.client.create(ENDPOINT_SLICES, piece, "default")
        before = {s.metadata.name: s.metadata.resource_version for s in await list_slices(world.client)}
        await asyncio.sleep(60)
        assert {s.metadata.name: s.metadata.resource_version for s in await list_slices(world.client)} == before

    play(scenario)


def test_endpoints_by_hand_live_until_somebody_deletes_them() -> None:
    async def scenario(world: World) -> None:
        body = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "by-hand"},
                "subsets": [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"name": "http", "port": 80}]}]}  # fmt: skip
        made = await world.client.create(ENDPOINTS, body, "default")
        await asyncio.sleep(60)
        live: Json = await world.client.get(ENDPOINTS, "by-hand", "default", as_type=dict)
        assert live["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]

    play(scenario)


def test_without_pods_there_are_an_empty_slice_and_empty_endpoints_and_both_go_with_the_service() -> None:
    async def scenario(world: World) -> None:
        await world.serve()

        async def both_are_there() -> bool:
            slices = await list_slices(world.client)
            try:
                endpoints: Json = await world.client.get(ENDPOINTS, "web", "default", as_type=dict)
            except NotFound:
                return False
            managed = "endpointslice.kubernetes.io/managed-by"
            return not endpoints.get("subsets") and [
                (s.metadata.labels[managed], s.endpoints or ()) for s in slices
            ] == [("endpointslice-controller.k8s.io", ())]

        await world.cluster.eventually(both_are_there)
        await world.client.delete(SERVICES, "web", "default")

        async def both_are_gone() -> bool:
            try:
                await world.client.get(ENDPOINTS, "web", "default", as_type=dict)
            except NotFound:
                return not await list_slices(world.client)
            return False

        await world.cluster.eventually(both_are_gone, timeout_seconds=90)

    play(scenario)


def test_endpoints_have_a_subset_for_each_way_in_which_a_named_port_resolves() -> None:
    async def scenario(world: World) -> None:
        ports = [{"name": "http", "port": 80, "targetPort": "web-port", "protocol": "TCP"}]
        await world.serve(ports=ports, publishNotReadyAddresses=True)
        await world.run("one", containers=[container(**{"web-port": 3000})])
        await world.run("two", containers=[container(**{"web-port": 3001})])

        async def check() -> bool:
            try:
                live: Json = await world.client.get(ENDPOINTS, "web", "default", as_type=dict)
            except NotFound:
                return False
            subsets = live.get("subsets") or []
            return sorted((s["ports"][0]["port"], s["addresses"][0]["targetRef"]["name"]) for s in subsets) == [
                (3000, "one"), (3001, "two"),
            ]  # fmt: skip

        await world.cluster.eventually(check)

    play(scenario)


def test_two_hundred_services_over_one_pod_have_their_endpoints_in_an_instant() -> None:
    async def scenario(world: World) -> None:
        one = await world.run("one")
        loop = asyncio.get_running_loop()
        began = loop.time()
        names = [f"svc-{n}" for n in range(200)]
        await asyncio.gather(*(world.serve(name, selector={"app": "web"}) for name in names))
        for name in names:
            await world.expect({one: ["http=9376/TCP", *UP]}, name)
        assert loop.time() - began < 5, "of the clock that jumps: nobody waits for a timer"

    play(scenario)


def test_a_node_says_by_its_labels_in_which_zone_its_endpoints_are() -> None:
    async def scenario(world: World) -> None:
        await world.client.patch(NODES, "n1", patch={"metadata": {"labels": {"topology.kubernetes.io/zone": "a"}}})
        await world.serve(trafficDistribution="PreferClose")
        await world.run("one")

        async def is_hinted() -> bool:
            found = [e for s in await list_slices(world.client) for e in s.endpoints or ()]
            return [(e.zone, [z.name for z in e.hints.for_zones] if e.hints else None) for e in found] == [("a", ["a"])]

        await world.cluster.eventually(is_hinted)
        await world.change(trafficDistribution="PreferSameNode")

        async def names_its_node() -> bool:
            found = [e for s in await list_slices(world.client) for e in s.endpoints or ()]
            return [[n.name for n in e.hints.for_nodes] if e.hints else None for e in found] == [["n1"]]

        await world.cluster.eventually(names_its_node)

    play(scenario)


def test_a_daemon_set_has_a_pod_on_each_node_and_its_service_an_endpoint_of_each() -> None:
    async def scenario(world: World) -> None:
        await create_node(world.client, "n2")
        await world.serve()
        template = {"metadata": {"labels": {"app": "web"}}, "spec": make_pod("any")["spec"]}
        body = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "every"},
                "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template}}  # fmt: skip
        await world.client.create(DAEMON_SETS, body, "default")

        async def placed() -> list[str]:
            page = await world.client.list(PODS, "default")
            pods = [msgspec.json.decode(raw) for raw in page.items]
            return (sorted(pod["spec"].get("nodeName", "") for pod in pods) == ["n1", "n2"] and [
                pod["metadata"]["name"] for pod in pods
            ]) or []  # fmt: skip

        names = await world.cluster.eventually(placed, timeout_seconds=60)
        for number, name in enumerate(sorted(names), 1):
            await world.report(name, ready=True, ips=(f"10.244.{number}.2",))
        up = ["http=9376/TCP", *UP]
        await world.expect({"10.244.1.2": up, "10.244.2.2": up})
        await world.end(sorted(names)[0])

        async def is_replaced() -> bool:
            found = await placed()
            return len(found) == 2 and set(found) != set(names)

        await world.cluster.eventually(is_replaced, timeout_seconds=60)

    play(scenario)
