"""Kubeconfigs: which server, which CA, which credentials. Parsing and rendering are pure; files are the caller's."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from seaway.net.errors import OperationalError

UNIX_PREFIX = "unix://"


class KubeconfigError(OperationalError):
    """A kubeconfig that cannot be used. The message says what was found, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a client needs to know. PEM is text. `unix_socket` is a path; with it `server` is only a name."""

    server: str
    ca_pem: str = ""
    certificate_pem: str = ""
    key_pem: str = ""
    token: str = ""
    token_file: str = ""
    """Where the token is from, and where a newer one will be."""
    unix_socket: str = ""
    server_name: str = ""
    namespace: str = "default"


def parse_kubeconfig(
    text: str, *, read_file: Callable[[str], str] | None = None, context: str = "", subject: str = "kubeconfig"
) -> Connection:
    """The connection of the context, or of the current one.

    read_file: reads a file that the kubeconfig names (`certificate-authority`, `client-key`, `tokenFile` …); relative
    paths are as written, the caller resolves them against the kubeconfig's folder. None: such entries are refused.
    `tokenFile` wins over `token`, as it does for kubectl, and stays in the connection as it is written.
    subject: what messages call it, best its path. Raises KubeconfigError.
    """
    reader = _Reader(subject, read_file)
    config = reader.load(text)
    name = context or config.get("current-context") or ""
    if not isinstance(name, str) or not name:
        raise reader.error("current-context is empty", "set it, or name a context")
    chosen = reader.find(config, "contexts", name, "context")
    cluster = reader.find(config, "clusters", chosen.get("cluster"), "cluster")
    user = reader.find(config, "users", chosen["user"], "user") if chosen.get("user") else {}
    for key in ("exec", "auth-provider", "username"):
        if user.get(key):
            raise reader.error(f"user {chosen['user']}: {key} is not supported", "use a client certificate or a token")
    if cluster.get("insecure-skip-tls-verify"):
        raise reader.error("insecure-skip-tls-verify is not supported", "give certificate-authority-data")
    server = cluster.get("server")
    if not isinstance(server, str) or not server.startswith(("https://", "http://", UNIX_PREFIX)):
        raise reader.error(f"server {server!r}", "it must start with https://, http:// or unix://")
    token_file = str(user.get("tokenFile") or "")
    token = reader.read(token_file).strip() if token_file else user.get("token") or ""
    certificate = reader.pem(user, "client-certificate")
    key = reader.pem(user, "client-key")
    if bool(certificate) != bool(key):
        raise reader.error("client-certificate and client-key go together", "give both or neither")
    return Connection(
        server=server,
        ca_pem=reader.pem(cluster, "certificate-authority"),
        certificate_pem=certificate,
        key_pem=key,
        token=str(token),
        token_file=token_file,
        unix_socket=server.removeprefix(UNIX_PREFIX) if server.startswith(UNIX_PREFIX) else "",
        server_name=str(cluster.get("tls-server-name") or ""),
        namespace=str(chosen.get("namespace") or "default"),
    )


def render_kubeconfig(connection: Connection, *, cluster: str = "seaway", user: str = "admin") -> str:
    """The YAML of a kubeconfig with one context, named after the cluster, everything embedded."""
    import yaml

    server = f"{UNIX_PREFIX}{connection.unix_socket}" if connection.unix_socket else connection.server
    where = {"server": server}
    if connection.ca_pem:
        where["certificate-authority-data"] = _encode(connection.ca_pem)
    if connection.server_name:
        where["tls-server-name"] = connection.server_name
    who: dict[str, str] = {}
    if connection.certificate_pem:
        who["client-certificate-data"] = _encode(connection.certificate_pem)
        who["client-key-data"] = _encode(connection.key_pem)
    if connection.token:
        who["token"] = connection.token
    chosen = {"cluster": cluster, "user": user}
    if connection.namespace != "default":
        chosen["namespace"] = connection.namespace
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": cluster,
        "clusters": [{"name": cluster, "cluster": where}],
        "users": [{"name": user, "user": who}],
        "contexts": [{"name": cluster, "context": chosen}],
    }
    return yaml.safe_dump(config, sort_keys=False, default_flow_style=False)


@dataclass(frozen=True, slots=True)
class _Reader:
    subject: str
    read_file: Callable[[str], str] | None

    def error(self, found: str, mend: str) -> KubeconfigError:
        return KubeconfigError(f"{self.subject}: {found}; {mend}")

    def load(self, text: str) -> Mapping[str, Any]:
        import yaml

        try:
            config = yaml.safe_load(text)
        except yaml.YAMLError as error:
            where = " ".join(str(error).split())
            raise self.error(f"no YAML: {where}", "renew the file with `seaway kubeconfig`") from error
        if not isinstance(config, dict):
            raise self.error("no mapping at the top", "renew the file with `seaway kubeconfig`")
        if config.get("kind", "Config") != "Config":
            raise self.error(f"kind {config['kind']!r} found", "a file of kind Config is needed")
        return config

    def find(self, config: Mapping[str, Any], section: str, name: Any, entry: str) -> Mapping[str, Any]:
        for row in config.get(section) or ():
            if isinstance(row, dict) and row.get("name") == name:
                value = row.get(entry)
                if isinstance(value, dict):
                    return value
        raise self.error(f"{entry} {name!r} is not in {section}", "add it, or choose another context")

    def pem(self, section: Mapping[str, Any], key: str) -> str:
        encoded = section.get(f"{key}-data")
        if not encoded:
            return self.read(section[key]) if section.get(key) else ""
        try:
            return base64.b64decode(str(encoded), validate=True).decode()
        except (binascii.Error, ValueError) as error:
            raise self.error(f"{key}-data is no base64 of PEM text", "renew the file") from error

    def read(self, path: Any) -> str:
        if self.read_file is None:
            raise self.error(f"it refers to the file {path}", "embed its content")
        try:
            return self.read_file(str(path))
        except OSError as error:
            raise self.error(f"{path}: {error.strerror or error}", "restore the file, or embed its content") from error


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
