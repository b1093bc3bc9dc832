"""Programs that run as Pods, and where Services are reached: in a Seaway with traffic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seaway.api.registry import PODS, SERVICES
from seaway.api.service.served import find_place
from seaway.api.service.types import Service
from seaway.testing.builders import make_pod
from seaway.testing.nodes import REAL_NODE
from seaway.testing.objects import Json
from seaway.testing.view import on_server
from seaway.testing.waiting import PATIENCE_SECONDS, WaitHelpers


class RunHelpers(WaitHelpers):
    """Each raises RuntimeError where there is no traffic."""

    @on_server
    async def run_pod(
        self,
        /,
        name: str,
        command: Sequence[str],
        *,
        port: int | None = None,
        labels: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = PATIENCE_SECONDS,
        **spec: Any,
    ) -> Json:
        """A Pod that runs the program, which finds in POD_IP what to bind. Returns when it listens on the port.

        command: of this host; `$(POD_IP)` is replaced. port: none, and the Pod is ready as soon as it runs. Labels as
        in `make_pod`. Raises RuntimeError, with what it printed, when the program ends before; TimeoutError.
        """
        _ = self.server.traffic
        chosen = dict(labels) if labels is not None else {"app": name.rpartition("-")[0] or name}
        container: Json = {"name": "main", "image": "host", "command": [*command]}
        container["env"] = [{"name": key, "value": value} for key, value in (env or {}).items()]
        if port is not None:
            container["ports"] = [{"containerPort": port}]
            container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
        defaults = {"nodeName": REAL_NODE, "restartPolicy": "Never", "terminationGracePeriodSeconds": 1}
        pod = make_pod(name, self.namespace, labels=chosen, **{**defaults, "containers": [container], **spec})
        await self._create_namespaced(pod)
        found: Json = {}

        async def look() -> bool:
            found.update(await self._get(PODS, name))
            return _is_ready(found) or found["status"].get("phase") in ("Failed", "Succeeded")

        await self._until(look, lambda: f"Pod {name}: {found.get('status')}", timeout_seconds)
        if not _is_ready(found):
            raise RuntimeError(f"Pod {name}: the program ended; it printed: {await self._read_log(name)!r}")
        return found

    @on_server
    async def pod_log(self, name: str) -> str:
        """What the program of the Pod has printed."""
        return await self._read_log(name)

    @on_server
    async def address_of(
        self,
        target: str,
        port: int | None = None,
        *,
        must_serve: bool = True,
        timeout_seconds: float = PATIENCE_SECONDS,
    ) -> tuple[str, int]:
        """Where a client connects for `svc/NAME` (its port; the first where none is given), or for `pod/NAME` (a port).

        must_serve: not before somebody listens there, who notices nothing. False for a Service that is to refuse.
        Raises TimeoutError, NotFound.
        """
        kind, _, name = target.rpartition("/")
        if kind in ("pod", "pods"):
            if port is None:
                raise ValueError(f"{target}: no port given, one needed")
            pod = await self._get(PODS, name)
            return self.server.traffic.locate(pod["status"]["podIP"]), port
        place, is_udp = await self._find_place(name, port)
        if must_serve:
            from seaway.testing.traffic import is_listening

            async def look() -> bool:
                nonlocal place
                place, _ = await self._find_place(name, port)  # the proxy may have said by now that it is elsewhere
                return is_listening(*place, is_udp=is_udp)

            await self._until(look, lambda: f"{target}: nobody listens at {place[0]}:{place[1]}", timeout_seconds)
        return place

    def locate(self, address: str) -> str:
        """Where an address of an object, such as a Pod's, is bound and dialled on this host."""
        return self.server.traffic.locate(address)

    # The parts. Only on the server's loop.

    async def _find_place(self, name: str, port: int | None) -> tuple[tuple[str, int], bool]:
        service = await self.server.client().get(SERVICES, name, self.namespace, as_type=Service)
        for each in service.spec.ports:
            if port in (None, each.port):
                return find_place(service, each, self.server.traffic.loopback), each.protocol == "UDP"
        ports = [each.port for each in service.spec.ports]
        raise ValueError(f"svc/{name}: port {port} found, one of {ports} allowed")

    async def _read_log(self, name: str) -> str:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/log"
        return (await self.server.client().send("GET", path)).decode(errors="replace")


def _is_ready(pod: Json) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
