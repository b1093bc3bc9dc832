"""The relay passes DNS messages to an upstream, and nothing else."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset

from seaway.app.relay import run_relay


class Upstream(asyncio.DatagramProtocol):
    """Answers every question with one address."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        reply = dns.message.make_response(query)
        reply.answer = [dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.53")]
        self.transport.sendto(reply.to_wire(), addr)


async def exchange(path: Path, wire: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(struct.pack("!H", len(wire)) + wire)
    try:
        async with asyncio.timeout(5):
            (size,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(size)
    finally:
        writer.close()


def test_a_question_gets_the_upstreams_answer_and_only_the_owner_may_ask(tmp_path: Path) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        path, ready = tmp_path / "dns.sock", asyncio.Event()
        relay = asyncio.create_task(run_relay(path, (f"127.0.0.1:{port}",), on_ready=ready.set))
        await ready.wait()
        query = dns.message.make_query("example.com.", "A")
        reply = dns.message.from_wire(await exchange(path, query.to_wire()))
        assert reply.id == query.id
        assert [str(r) for rrset in reply.answer for r in rrset] == ["192.0.2.53"]
        assert path.stat().st_mode & 0o777 == 0o600
        relay.cancel()
        await asyncio.gather(relay, return_exceptions=True)
        transport.close()
        assert not path.exists()

    asyncio.run(scenario())
