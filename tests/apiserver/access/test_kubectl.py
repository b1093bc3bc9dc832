"""kubectl's commands about rights, unmodified, against a server that listens. Rule: spec "api-machinery" §3.6, §10.

It sends protobuf bodies and expects to read back what it asked.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from seaway.api.machinery.http import Identity
from seaway.apiserver.access.credentials import Credentials, digest_token
from seaway.apiserver.run import ServerConfig, open_server
from seaway.apiserver.serve import TcpListener, serve
from seaway.store.memory import MemoryStore
from tests.apiserver.certificates import Authority

KUBECTL = shutil.which("kubectl")
WHOAMI_SINCE = 28
"""The minor version since which `kubectl auth whoami` is there; `create token` is older."""


def find_minor_version() -> int:
    if KUBECTL is None:
        return 0
    shown = subprocess.run([KUBECTL, "version", "--client", "-o", "json"], capture_output=True, text=True, timeout=30)
    found = re.search(r'"minor": "(\d+)', shown.stdout)
    return int(found[1]) if found else 0


pytestmark = pytest.mark.skipif(
    find_minor_version() < WHOAMI_SINCE, reason=f"kubectl 1.{WHOAMI_SINCE} or later is not installed"
)


@dataclass
class Shell:
    """kubectl with the administrator's token, or another."""

    url: str
    folder: Path

    async def __call__(self, *arguments: str, token: str = "admin") -> tuple[int, str]:
        """The exit code and all output."""
        assert KUBECTL is not None
        process = await asyncio.create_subprocess_exec(
            KUBECTL, *("--server", self.url, "--certificate-authority", str(self.folder / "ca.crt"), "--token", token),
            *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={"HOME": str(self.folder), "KUBECONFIG": os.devnull, "PATH": os.environ["PATH"]},
        )  # fmt: skip
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode().strip()


def shell(tmp_path: Path, conversation: Callable[[Shell], Awaitable[None]]) -> None:
    identities = {"admin": Identity("admin", ("system:masters",), "u-0"), "ann": Identity("ann", ("devs",))}
    credentials = Credentials(static_tokens={digest_token(token): who for token, who in identities.items()})

    async def run() -> None:
        store = MemoryStore()
        server = await open_server(ServerConfig(), store, credentials=credentials, runs_loops=False)
        tls = Authority(tmp_path).serving()
        serving = await serve(server, tls=tls, listen=[TcpListener("127.0.0.1", 0)])
        try:
            await conversation(Shell(f"https://127.0.0.1:{serving.addresses[0][1]}", tmp_path))
        finally:
            await serving.close()
            await server.close()
            await store.close()
            await asyncio.sleep(0.01)  # lets the loop take its closed transports off the selector

    asyncio.run(run())


def test_auth_whoami(tmp_path: Path) -> None:
    async def conversation(kubectl: Shell) -> None:
        code, shown = await kubectl("auth", "whoami")
        assert code == 0
        assert [line.split(maxsplit=1) for line in shown.splitlines()] == [
            ["ATTRIBUTE", "VALUE"], ["Username", "admin"], ["UID", "u-0"],
            ["Groups", "[system:masters system:authenticated]"],
        ]  # fmt: skip
        _, shown = await kubectl("auth", "whoami", "--as", "ben", "--as-group", "g", "--as-uid", "u-9")
        assert "ben" in shown and "u-9" in shown and "[g system:authenticated]" in shown

    shell(tmp_path, conversation)


def test_auth_can_i(tmp_path: Path) -> None:
    async def conversation(kubectl: Shell) -> None:
        code, shown = await kubectl("auth", "can-i", "delete", "nodes")
        assert code == 0 and shown.endswith("yes")
        code, shown = await kubectl("auth", "can-i", "list", "services", token="ann")
        assert (code, shown) == (1, "no")
        await kubectl("create", "rolebinding", "devs", "--clusterrole", "view", "--group", "devs")
        assert await kubectl("auth", "can-i", "list", "services", token="ann") == (0, "yes")
        log = ("auth", "can-i", "get", "pods", "--subresource", "log")
        assert await kubectl(*log, token="ann") == (0, "yes")
        assert await kubectl("auth", "can-i", "get", "/api", token="ann") == (0, "yes")
        code, shown = await kubectl("auth", "can-i", "list", "services", "-A", token="ann")
        assert (code, shown) == (1, "no")

    shell(tmp_path, conversation)


def test_auth_can_i_list(tmp_path: Path) -> None:
    async def conversation(kubectl: Shell) -> None:
        await kubectl("create", "role", "r", "--verb", "get,list", "--resource", "pods", "--resource-name", "p")
        await kubectl("create", "rolebinding", "r", "--role", "r", "--user", "ann")
        code, shown = await kubectl("auth", "can-i", "--list", token="ann")
        rows = [line.split(maxsplit=1) for line in shown.splitlines()]
        assert code == 0 and "warning" not in shown
        assert any(row[0] == "pods" and row[1].split() == ["[]", "[p]", "[get", "list]"] for row in rows), shown
        assert any(row[0] == "selfsubjectreviews.authentication.k8s.io" for row in rows)
        assert "[/api/*]" in shown

    shell(tmp_path, conversation)


def test_create_token_and_speak_with_it(tmp_path: Path) -> None:
    async def conversation(kubectl: Shell) -> None:
        await kubectl("create", "serviceaccount", "robot")
        code, token = await kubectl("create", "token", "robot", "--duration", "15m")
        assert code == 0 and token.count(".") == 2
        _, shown = await kubectl("auth", "whoami", token=token)
        assert "system:serviceaccount:default:robot" in shown and "JTI=" in shown
        code, shown = await kubectl("get", "pods", token=token)
        assert code == 1 and shown.startswith("Error from server (Forbidden): pods is forbidden: User ")
        assert (
            "may not specify a duration less than 10 minutes"
            in (await kubectl("create", "token", "robot", "--duration", "1m"))[1]
        )
        await kubectl("create", "secret", "generic", "s")
        bound = ("--bound-object-kind", "Secret", "--bound-object-name", "s")
        code, token = await kubectl("create", "token", "robot", *bound)
        assert code == 0
        await kubectl("delete", "secret", "s")
        code, shown = await kubectl("get", "pods", token=token)
        assert (code, shown) == (1, "error: You must be logged in to the server (Unauthorized)")

    shell(tmp_path, conversation)


def test_a_grant_beyond_ones_own_rights_says_what_is_missing(tmp_path: Path) -> None:
    async def conversation(kubectl: Shell) -> None:
        await kubectl("create", "rolebinding", "devs", "--clusterrole", "admin", "--group", "devs")
        create = ("create", "rolebinding", "more", "--user", "ben", "--clusterrole")
        assert (await kubectl(*create, "view", token="ann"))[0] == 0
        code, shown = await kubectl(*create, "system:node", token="ann")
        assert code == 1
        assert 'user "ann" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions' in shown
        assert '{APIGroups:[""], Resources:["nodes"], Verbs:["create"' in shown

    shell(tmp_path, conversation)


def test_reconcile_of_roles(tmp_path: Path) -> None:
    manifest = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: readers}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
"""

    async def conversation(kubectl: Shell) -> None:
        (tmp_path / "roles.yaml").write_text(manifest)
        code, shown = await kubectl("auth", "reconcile", "-f", str(tmp_path / "roles.yaml"))
        assert code == 0 and "readers reconciled" in shown
        _, shown = await kubectl("describe", "clusterrole", "readers")
        assert re.search(r"pods +\[\] +\[\] +\[get\]", shown)

    shell(tmp_path, conversation)
