"""A data plane made of two: rules of the kernel for all Services, and listeners for those that ask for user space.

The order of a sync keeps every address served: first listeners are opened, then the rules lead to them or away from
them, and only then listeners are closed that nothing leads to. Connections that are there go on where they are: the
kernel remembers a flow's destination, and a listener that is closed keeps the connections that it took.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import Frontend, ServiceForwarding, Target
from seaway.proxy.proxier import Plane, PlaneError
from seaway.proxy.splitting.plan import redirect, select_userspace


class SplitPlane:
    """One family. Costs, besides a change, a look at each Service that asks for user space in every sync."""

    def __init__(
        self, kernel: Plane, userspace: Plane, *, find_listener: Callable[[str, Frontend], Target | None]
    ) -> None:
        """find_listener: by Service and frontend, where the userspace plane listens now; None: nowhere."""
        self._kernel, self._userspace, self._find_listener = kernel, userspace, find_listener
        self._asking: dict[str, ServiceForwarding] = {}
        """The Services whole, as they were given."""
        self._rendered: dict[str, ServiceForwarding] = {}
        """The same as the kernel was told."""
        self._leaving: set[str] = set()
        self._node: NodeView | None = None

    def sync(self, changed: Mapping[str, ServiceForwarding | None], node: NodeView) -> bool:
        """Raises PlaneError; what was given is not lost by it. A plane that fails does not keep back the other."""
        self._node = node
        opened: dict[str, ServiceForwarding | None] = {}
        told: dict[str, ServiceForwarding | None] = {}
        for key, service in changed.items():
            part = select_userspace(service)
            if part is not None and service is not None:
                self._asking[key] = service
                self._leaving.discard(key)
                opened[key] = part
            else:
                told[key] = service
                if self._asking.pop(key, None) is not None:
                    self._leaving.add(key)
                    self._rendered.pop(key, None)
        failure = self._try(self._userspace, opened, node)
        for key, service in self._asking.items():
            redirected = self._redirect(key, service)
            if self._rendered.get(key) != redirected:
                told[key] = self._rendered[key] = redirected
        is_whole = self._kernel.sync({key: told[key] for key in sorted(told)}, node)
        if self._leaving:
            left = self._try(self._userspace, dict.fromkeys(sorted(self._leaving)), node)
            failure = failure or left
            if left is None:
                self._leaving.clear()
        if failure is not None:
            raise failure
        return is_whole

    def verify(self) -> None:
        """Both are looked at."""
        self._kernel.verify()
        self._userspace.verify()

    def hand_back(self) -> None:
        """Let the kernel serve all Services by itself, since the rules outlive this process. Raises PlaneError."""
        if self._node is not None and self._asking:
            self._rendered = {}
            self._kernel.sync(self._asking, self._node)

    def _redirect(self, key: str, service: ServiceForwarding) -> ServiceForwarding:
        return redirect(service, lambda frontend: self._find_listener(key, frontend))

    @staticmethod
    def _try(plane: Plane, changed: Mapping[str, ServiceForwarding | None], node: NodeView) -> PlaneError | None:
        try:
            plane.sync(changed, node)
        except PlaneError as error:
            return error
        return None
