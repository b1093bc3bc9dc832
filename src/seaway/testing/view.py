"""What a test holds is a view of a server from one namespace: how to get in, whom to be, and what trouble to order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from seaway.testing.faults import Fault, Recorded
from seaway.testing.manifests import find_kind

if TYPE_CHECKING:
    from seaway.testing.credentials import User
    from seaway.testing.server import SeawayServer

P = ParamSpec("P")
T = TypeVar("T")


class View:
    """What both forms say without asking the server."""

    def __init__(self, server: SeawayServer, namespace: str, user: User) -> None:
        self.server = server
        self.namespace = namespace
        """The test's own; helpers use it where no other is given, and so do clients with the kubeconfig."""
        self.admin = user
        self._ordered: list[Fault] = []
        self._users: list[User] = [user]

    @property
    def url(self) -> str:
        """`https://127.0.0.1:PORT`."""
        return self.server.url

    @property
    def kubeconfig(self) -> Path:
        """A file with an administrator's credentials and the test's namespace, readable for this user alone."""
        return self.admin.kubeconfig

    @property
    def kubeconfig_dict(self) -> dict[str, object]:
        """The same as a value, for clients that take one."""
        return self.admin.kubeconfig_dict

    @property
    def ca_pem(self) -> str:
        """The certificate of the server's authority."""
        return self.server.ca_pem

    @property
    def ca_file(self) -> Path:
        """The same as a file."""
        return self.server.folder / "ca.crt"

    @property
    def token(self) -> str:
        """A bearer token of the administrator."""
        return self.admin.token

    @property
    def requests(self) -> tuple[Recorded, ...]:
        """What came over the wire to this server so far, the latest last."""
        return tuple(self.server.faults.recorded.copy())

    def user(self, name: str, *groups: str) -> User:
        """Credentials of somebody else: nobody but RBAC objects gives them rights."""
        user = self.server.make_user(name, groups, self.namespace)
        self._users.append(user)
        return user

    def service_account(self, name: str = "default", namespace: str = "") -> User:
        """Credentials (a token) of a service account."""
        of = namespace or self.namespace
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{of}")
        subject = f"system:serviceaccount:{of}:{name}"
        user = self.server.make_user(subject, groups, self.namespace, has_certificate=False)
        self._users.append(user)
        return user

    def fail_next(
        self,
        status: int = 500,
        *,
        times: int = 1,
        verb: str | None = None,
        kind: str | None = None,
        subresource: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        user: str | None = None,
        message: str = "",
        retry_after_seconds: int | None = None,
        delay_seconds: float = 0.0,
    ) -> Fault:
        """Refuse the next requests over the wire that match; what is not given matches everything.

        verb: as RBAC names it (`get list watch create update patch delete deletecollection`). 410 for a watch comes as
        the event that clients know. A 429 asks to wait one second, unless told otherwise (0: no word of waiting).
        The returned order's `met` are the requests that it met.
        """
        return self._order(
            status, times, verb, kind, subresource, name, namespace, user, message, retry_after_seconds, delay_seconds
        )

    def delay_next(
        self,
        seconds: float,
        *,
        times: int = 1,
        verb: str | None = None,
        kind: str | None = None,
        subresource: str | None = None,
        name: str | None = None,
        namespace: str | None = None,
        user: str | None = None,
    ) -> Fault:
        """Answer the next matching requests late, but answer them."""
        return self._order(None, times, verb, kind, subresource, name, namespace, user, "", None, seconds)

    def _order(
        self,
        status: int | None,
        times: int,
        verb: str | None,
        kind: str | None,
        subresource: str | None,
        name: str | None,
        namespace: str | None,
        user: str | None,
        message: str,
        retry_after_seconds: int | None,
        delay_seconds: float,
    ) -> Fault:
        resource = find_kind(kind) if kind is not None else None
        fault = Fault(
            status, times, verb, resource, subresource, name, namespace, user, message, retry_after_seconds,
            delay_seconds,
        )  # fmt: skip
        self._ordered.append(fault)
        return self.server.faults.order(fault)


V = TypeVar("V", bound=View)


def on_server(
    method: Callable[Concatenate[V, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[V, P], Coroutine[Any, Any, T]]:
    """The method, run on the server's loop whoever awaits it."""

    @functools.wraps(method)
    async def run(self: V, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.server.run(method, self, *args, **kwargs)

    return run
