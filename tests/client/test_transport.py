"""Real sockets on loopback and in a folder of the test's own: TLS with client certificates on both."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from seaway.api.machinery.http import Identity, Request, Response
from seaway.client.kubeconfig import Connection
from seaway.client.requests import TransportError
from seaway.client.transport import TOKEN_SECONDS, HttpTransport, InProcessTransport


def make_certificate(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    signer = issuer[1] if issuer else key
    usage = x509.KeyUsage(True, False, False, False, False, issuer is None, issuer is None, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - datetime.timedelta(days=3650))
        .not_valid_after(start + datetime.timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    return builder.sign(signer, hashes.SHA256()), key


def render_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def render_key(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


CA = make_certificate("ca", None)
SERVER = make_certificate("kubernetes", CA)
ALICE = make_certificate("alice", CA)


async def answer(request: web.Request) -> web.StreamResponse:
    if "watch" in request.query:
        stream = web.StreamResponse()
        await stream.prepare(request)
        await stream.write(b'{"n":1}\n')
        if request.path == "/cut":
            assert request.transport is not None
            request.transport.abort()
        await stream.write(b'{"n":2}\n')
        return stream
    peer = request.transport.get_extra_info("peercert") if request.transport else None
    name = peer["subject"][0][0][1] if peer else "nobody"
    token = request.headers.get("authorization", "")
    body = (await request.read()).decode()
    status = 401 if request.path == "/refused" else 200
    return web.Response(status=status, text=f"{request.method} {request.raw_path} {name} {token} {body}".strip())


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Path, int]]:
    (folder / "server.pem").write_text(render_pem(SERVER[0]) + render_key(SERVER[1]))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=render_pem(CA[0]))
    context.load_cert_chain(folder / "server.pem")
    context.verify_mode = ssl.CERT_OPTIONAL
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handle_signals=False)
    await runner.setup()
    path = folder / "api.sock"
    await web.UnixSite(runner, str(path), ssl_context=context).start()
    tcp = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await tcp.start()
    try:
        yield path, runner.addresses[1][1]
    finally:
        await runner.cleanup()


def connect(path: Path, port: int, *, way: str, server_name: str = "kubernetes", token: str = "") -> HttpTransport:
    return HttpTransport.from_connection(
        Connection(
            server=f"https://127.0.0.1:{port}",
            unix_socket=str(path) if way == "unix" else "",
            ca_pem=render_pem(CA[0]),
            certificate_pem="" if token else render_pem(ALICE[0]),
            key_pem="" if token else render_key(ALICE[1]),
            token=token,
            server_name=server_name,
        )
    )


WAYS = pytest.mark.parametrize("way", ["tcp", "unix"])


@WAYS
def test_a_client_certificate_says_who_asks(tmp_path: Path, way: str) -> None:
    async def main() -> None:
        async with serving(tmp_path) as (path, port):
            transport = connect(path, port, way=way)
            response = await transport.send(Request("POST", "/api/a%20b", (("q", "1,2"),), {}, b"body"))
            assert response.status == 200
            assert response.body == b"POST /api/a%20b?q=1%2C2 alice  body"
            await transport.close()

    asyncio.run(main())


@WAYS
def test_a_token_is_sent(tmp_path: Path, way: str) -> None:
    async def main() -> None:
        async with serving(tmp_path) as (path, port):
            transport = connect(path, port, way=way, token="t0")
            assert (await transport.send(Request("GET", "/x"))).body == b"GET /x nobody Bearer t0"
            await transport.close()

    asyncio.run(main())


def test_a_token_is_read_again_after_a_minute_and_when_it_is_refused(tmp_path: Path) -> None:
    """Tokens of service accounts are renewed in their file. Rule: client-go's cached file token source."""
    file = tmp_path / "token"
    now = [0.0]

    async def main() -> None:
        async with serving(tmp_path) as (_, port):
            transport = HttpTransport(
                f"https://127.0.0.1:{port}",
                ca_pem=render_pem(CA[0]),
                server_name="kubernetes",
                token="t0",
                token_file=file,
                clock=lambda: now[0],
            )

            async def sent(path: str = "/x") -> bytes:
                body = (await transport.send(Request("GET", path))).body
                assert isinstance(body, bytes)
                return body.rpartition(b" ")[2]

            file.write_text("t1\n")
            assert await sent() == b"t0"
            now[0] = TOKEN_SECONDS
            assert await sent() == b"t1"
            file.write_text("t2")
            assert await sent() == b"t1"
            await sent("/refused")
            assert await sent() == b"t2"
            file.unlink()
            now[0] += TOKEN_SECONDS
            assert await sent() == b"t2", "what cannot be read leaves the last one in use"
            await transport.close()

    asyncio.run(main())


@WAYS
def test_a_watch_streams_and_may_be_left(tmp_path: Path, way: str) -> None:
    async def main() -> None:
        async with serving(tmp_path) as (path, port):
            transport = connect(path, port, way=way)
            response = await transport.send(Request("GET", "/x", (("watch", "true"),)))
            assert not isinstance(response.body, bytes)
            assert b"".join([chunk async for chunk in response.body]) == b'{"n":1}\n{"n":2}\n'
            await transport.close()

    asyncio.run(main())


def test_a_watch_that_is_cut_is_no_clean_end(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as (path, port):
            transport = connect(path, port, way="unix")
            response = await transport.send(Request("GET", "/cut", (("watch", "true"),)))
            assert not isinstance(response.body, bytes)
            with pytest.raises(TransportError, match="no answer from"):
                async for _ in response.body:
                    pass
            await transport.close()

    asyncio.run(main())


def test_a_server_with_another_name_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as (path, port):
            transport = connect(path, port, way="tcp", server_name="elsewhere")
            with pytest.raises(TransportError, match=r"127\.0\.0\.1"):
                await transport.send(Request("GET", "/x"))
            await transport.close()

    asyncio.run(main())


def test_nobody_there_is_a_transport_error(tmp_path: Path) -> None:
    async def main() -> None:
        transport = HttpTransport("", unix_socket=tmp_path / "absent.sock")
        with pytest.raises(TransportError, match=r"absent\.sock"):
            await transport.send(Request("GET", "/x"))
        await transport.close()

    asyncio.run(main())


def test_a_server_in_process_gets_the_identity() -> None:
    async def handle(request: Request, identity: Identity) -> Response:
        return Response(200, (), f"{request.path} {identity.user}".encode())

    async def main() -> None:
        transport = InProcessTransport(handle, Identity("alice"))
        assert (await transport.send(Request("GET", "/x"))).body == b"/x alice"
        await transport.close()

    asyncio.run(main())
