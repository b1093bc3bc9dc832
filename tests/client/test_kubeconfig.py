from __future__ import annotations

import pytest

from seaway.client.kubeconfig import Connection, KubeconfigError, parse_kubeconfig, render_kubeconfig

UNIX = Connection(
    server="unix:///data/api.sock",
    ca_pem="CA\n",
    certificate_pem="CERT\n",
    key_pem="KEY\n",
    unix_socket="/data/api.sock",
)
TCP = Connection(server="https://127.0.0.1:6443", ca_pem="CA\n", token="t0ken", server_name="kubernetes")

FILES = """
apiVersion: v1
kind: Config
current-context: one
contexts: [{name: one, context: {cluster: c, user: u, namespace: shop}}]
clusters: [{name: c, cluster: {server: "https://k:6443", certificate-authority: ca.crt}}]
users: [{name: u, user: {tokenFile: token}}]
"""


@pytest.mark.parametrize("connection", [UNIX, TCP], ids=["a unix socket", "a token over TCP"])
def test_what_is_rendered_is_parsed_back(connection: Connection) -> None:
    assert parse_kubeconfig(render_kubeconfig(connection)) == connection


def test_files_are_read_by_the_caller() -> None:
    connection = parse_kubeconfig(FILES, read_file={"ca.crt": "CA", "token": "t\n"}.__getitem__)
    assert connection == Connection(
        server="https://k:6443", ca_pem="CA", token="t", token_file="token", namespace="shop"
    )


BAD = [
    ("no YAML", "{", "no YAML"),
    ("a list", "[]", "no mapping at the top"),
    ("another kind", "kind: Pod", "kind 'Pod' found"),
    ("no current context", "kind: Config", "current-context is empty"),
    ("an unknown context", "current-context: x", "context 'x' is not in contexts"),
    ("an unknown cluster", FILES.replace("{name: c, cluster", "{name: d, cluster"), "cluster 'c' is not in clusters"),
    ("a server without scheme", FILES.replace("https://k:6443", "k:6443"), "server 'k:6443'"),
    ("files that nobody reads", FILES, "it refers to the file"),
    ("exec", FILES.replace("tokenFile: token", "exec: {command: x}"), "exec is not supported"),
    ("bad base64",
        FILES.replace("{tokenFile: token}", "{client-key-data: '%'}").replace("certificate-authority: ca.crt", ""),
        "no base64"),
    ("a certificate without key",
        FILES.replace("tokenFile: token", "client-certificate-data: Q0VSVA=="), "go together"),
    ("no verification",
        FILES.replace("certificate-authority: ca.crt", "insecure-skip-tls-verify: true"), "not supported"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "found"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_a_bad_file_gets_one_clear_line(text: str, found: str) -> None:
    with pytest.raises(KubeconfigError) as caught:
        parse_kubeconfig(text, subject="admin.kubeconfig")
    message = str(caught.value)
    assert message.startswith("admin.kubeconfig: ") and found in message and "\n" not in message
