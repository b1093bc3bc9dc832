"""A data plane made of two: rules of the kernel for all Services, and listeners for those that ask for user space.

The order of a sync keeps every address served: first listeners are opened, then the rules lead to them or away from
them, and only then listeners are closed that nothing leads to. Connections that are there go on where they are: the
kernel remembers a flow's destination, and a listener that is closed keeps the connections that it took.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from seaway.proxy.config import NodeView
from seaway.proxy.forwarding import Frontend, ServiceForwarding, Target
from seaway.proxy.proxier import Plane, PlaneError
from seaway.proxy.splitting.plan import redirect, retire, select_userspace


class SplitPlane:
    """One family. Costs, besides a change, a look at each Service that asks for user space in every sync."""

    def __init__(
        self,
        kernel: Plane,
        userspace: Plane,
        *,
        find_listener: Callable[[str, Frontend], Target | None],
        is_holding: Callable[[str], bool],
    ) -> None:
        """find_listener: by Service and frontend, where the userspace plane listens now; None: nowhere.

        is_holding: whether the userspace plane holds connections of the Service.
        """
        self._kernel, self._userspace = kernel, userspace
        self._find_listener, self._is_holding = find_listener, is_holding
        self._asking: dict[str, ServiceForwarding] = {}
        """The Services whole, as they were given."""
        self._rendered: dict[str, ServiceForwarding] = {}
        """The same as the kernel was told."""
        self._retiring: dict[str, ServiceForwarding | None] = {}
        """Services that asked before; None: they are gone."""
        self._node: NodeView | None = None

    def sync(self, changed: Mapping[str, ServiceForwarding | None], node: NodeView) -> bool:
        """Raises PlaneError; what was given is not lost by it. Listeners that fail do not keep back the rules."""
        self._node = node
        opened: dict[str, ServiceForwarding | None] = {}
        told: dict[str, ServiceForwarding | None] = {}
        for key, service in changed.items():
            part = select_userspace(service)
            if part is not None and service is not None:
                self._asking[key], opened[key] = service, part
                self._retiring.pop(key, None)
                continue
            told[key] = service
            if key in self._asking or key in self._retiring:
                self._retiring[key] = service
                self._asking.pop(key, None)
                self._rendered.pop(key, None)
        failure = self._try(opened, node)
        for key, service in self._asking.items():
            redirected = self._redirect(key, service)
            if self._rendered.get(key) != redirected:
                told[key] = self._rendered[key] = redirected
        is_whole = self._kernel.sync({key: told[key] for key in sorted(told)}, node)
        failure = self._retire(node) or failure
        if failure is not None:
            raise failure
        return is_whole

    def verify(self) -> Iterable[None] | None:
        """Both are looked at, the kernel in short steps."""
        self._userspace.verify()
        return self._kernel.verify()

    def hand_back(self) -> None:
        """Let the kernel serve all Services by itself, since the rules outlive this process. Raises PlaneError."""
        if self._node is not None and self._asking:
            self._rendered = {}
            self._kernel.sync(self._asking, self._node)

    def _redirect(self, key: str, service: ServiceForwarding) -> ServiceForwarding:
        return redirect(service, lambda frontend: self._find_listener(key, frontend))

    def _retire(self, node: NodeView) -> PlaneError | None:
        """Close what no rule leads to any more; the Service is forgotten once no connection is left."""
        if not self._retiring:
            return None
        left = {
            key: retire(service) if service is not None and self._is_holding(key) else None
            for key, service in sorted(self._retiring.items())
        }
        failure = self._try(left, node)
        if failure is None:
            self._retiring = {key: self._retiring[key] for key, service in left.items() if service is not None}
        return failure

    def _try(self, changed: Mapping[str, ServiceForwarding | None], node: NodeView) -> PlaneError | None:
        try:
            self._userspace.sync(changed, node)
        except PlaneError as error:
            return error
        return None
