"""create_datagram_endpoint and its transport."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

from surface.probe import Probe, case, raising

P = asyncio.DatagramProtocol
LOCAL = "127.0.0.1"


@case
async def wrong_arguments(p: Probe) -> None:
    call = p.loop.create_datagram_endpoint
    await p.wait(call)
    await p.wait(call, P)
    await p.wait(call, P, unknown=1)
    await p.wait(call, P, sock=p.open())
    await p.wait(call, P, sock=5)
    await p.wait(call, P, sock=p.closed())
    for option in ("local_addr", "remote_addr"):
        value = (LOCAL, 0) if option == "local_addr" else (LOCAL, 9)
        await p.wait(call, P, sock=p.open(socket.SOCK_DGRAM), **{option: value})
        for wrong in (
            5,
            "x",
            (LOCAL,),
            (LOCAL, 0, 0),
            (5, 5),
            (LOCAL, "x"),
            (LOCAL, -1),
            ("::1::", 0),
            (),
        ):
            await p.wait(call, P, **{option: wrong, "flags": socket.AI_NUMERICHOST})
    for option in ("family", "proto", "flags", "reuse_port", "allow_broadcast"):
        await p.wait(call, P, sock=p.open(socket.SOCK_DGRAM), **{option: 1})
        await p.wait(call, P, (LOCAL, 0), **{option: "x"})
    await p.wait(call, P, (LOCAL, 0), family=99)
    await p.wait(call, P, family=99)
    await p.wait(call, P, (LOCAL, 0), ("::1", 9))
    await p.wait(call, P, (LOCAL, 0), family=socket.AF_INET6)
    await p.wait(call, P, ("192.0.2.1", 0))
    await p.wait(call, P, (LOCAL, 0), reuse_address=True)
    await p.wait(call, P, (LOCAL, 0), reuse_address=False)
    await p.wait(call, P, family=socket.AF_UNIX, local_addr=5)
    await p.wait(call, P, family=socket.AF_UNIX, local_addr="/no/such/folder/s")
    await p.wait(call, P, family=socket.AF_UNIX, remote_addr="/no/such/folder/s")
    await asyncio.sleep(0.001)


@case
async def endpoints(p: Probe) -> None:
    call = p.loop.create_datagram_endpoint
    folder = p.folder()
    options: Any
    for options in (
        {"local_addr": (LOCAL, 0)},
        {"remote_addr": (LOCAL, 9)},
        {"local_addr": (LOCAL, 0), "remote_addr": (LOCAL, 9)},
        {"family": socket.AF_INET},
        {"family": socket.AF_UNIX, "local_addr": str(folder / "u")},
        {"family": socket.AF_UNIX},
        {"local_addr": (LOCAL, 0), "reuse_port": True, "allow_broadcast": True},
        {"sock": p.open(socket.SOCK_DGRAM)},
        {"local_addr": ("::1", 0)},
        {"local_addr": (LOCAL, 0), "proto": socket.IPPROTO_UDP},
    ):
        made = await p.wait(call, P, **options)
        if made is None:
            continue
        transport, _ = made
        p.extra(transport)
        if sys.version_info >= (3, 12):
            p.note("kind", isinstance(transport, asyncio.DatagramTransport))
        p.note("limits", transport.get_write_buffer_size())
        transport.close()
        await asyncio.sleep(0)


@case
async def transports(p: Probe) -> None:
    got: asyncio.Queue[Any] = asyncio.Queue()

    class Receiver(P):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            got.put_nowait((data, addr[0]))

        def error_received(self, exc: Exception) -> None:
            p.note("error", exc)

        def connection_lost(self, exc: Exception | None) -> None:
            p.note("lost", exc)

    one, _ = await p.loop.create_datagram_endpoint(Receiver, (LOCAL, 0))
    there = one.get_extra_info("sockname")
    two, _ = await p.loop.create_datagram_endpoint(Receiver, remote_addr=there)
    for wrong in (None, 5, "text", [1], object()):
        p.attempt(one.sendto, wrong, there)
        p.attempt(two.sendto, wrong)
    for data in (b"bytes", bytearray(b"array"), memoryview(b"view")):
        p.attempt(one.sendto, data, there)
        p.note("got", await got.get())
    p.attempt(two.sendto, b"connected")
    p.note("got", await got.get())
    p.attempt(two.sendto, b"named", there)
    p.note("got", await got.get())
    p.attempt(two.sendto, b"elsewhere", (LOCAL, 9))
    p.attempt(one.sendto)
    p.attempt(one.sendto, b"x" * 70_000, there)
    p.attempt(one.sendto, b"", there)
    p.attempt(two.get_write_buffer_size)
    p.attempt(two.get_write_buffer_limits)
    p.attempt(two.set_write_buffer_limits, 10)
    p.attempt(two.get_write_buffer_limits)
    p.attempt(two.set_write_buffer_limits, 10, 20)
    p.attempt(two.set_write_buffer_limits, -1)
    p.attempt(two.is_closing)
    p.attempt(two.get_protocol)
    p.attempt(two.set_protocol, P())
    p.attempt(two.get_extra_info, "nothing", "default")
    p.attempt(two.get_extra_info)
    p.attempt(two.close)
    p.attempt(two.close)
    p.attempt(two.is_closing)
    p.attempt(two.abort)
    p.attempt(one.abort)
    p.attempt(one.sendto, b"late", there)
    await asyncio.sleep(0.001)
    p.attempt(one.sendto, b"later", there)


@case
async def protocols_that_fail(p: Probe) -> None:
    raises = raising(P, "connection_made")
    await p.wait(p.loop.create_datagram_endpoint, raises, (LOCAL, 0))
    await asyncio.sleep(0.001)


@case
async def losses_that_fail(p: Probe) -> None:
    raises = raising(P, "connection_lost")
    transport, _ = await p.loop.create_datagram_endpoint(raises, (LOCAL, 0))
    transport.close()
    await asyncio.sleep(0.001)
    p.attempt(transport.is_closing)
