"""getaddrinfo and getnameinfo."""

from __future__ import annotations

import socket

from surface.probe import Probe, case, debug_case


@case
async def getaddrinfo(p: Probe) -> None:
    for host in ("127.0.0.1", "::1", "localhost", "", None, b"127.0.0.1", "127.1", "0"):
        for port in (0, 80, "80", b"80", "http", None, "", -1, 1 << 20, "no such service"):
            await p.wait(p.loop.getaddrinfo, host, port)
    for wrong in (5, 1.5, object(), ["127.0.0.1"], "bad\0host", "x" * 300):
        await p.wait(p.loop.getaddrinfo, wrong, 80)
    for wrong in (1.5, object(), 1 << 70):
        await p.wait(p.loop.getaddrinfo, "127.0.0.1", wrong)
    await p.wait(p.loop.getaddrinfo)
    await p.wait(p.loop.getaddrinfo, "127.0.0.1")
    await p.wait(p.loop.getaddrinfo, "127.0.0.1", 80, socket.AF_INET)
    await p.wait(p.loop.getaddrinfo, "127.0.0.1", 80, unknown=1)


@case
async def hints(p: Probe) -> None:
    call = p.loop.getaddrinfo
    for host in ("127.0.0.1", "::1", "fe80::1%lo", "fe80::1%99"):
        for family in (0, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, 99):
            await p.wait(call, host, 80, family=family)
        for kind in (0, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, 99, -1):
            for proto in (0, socket.IPPROTO_TCP, socket.IPPROTO_UDP, 99):
                await p.wait(call, host, 80, type=kind, proto=proto)
        for flags in (
            socket.AI_PASSIVE,
            socket.AI_NUMERICHOST,
            socket.AI_NUMERICSERV,
            socket.AI_CANONNAME,
            1 << 20,
            -1,
        ):
            await p.wait(call, host, 80, flags=flags)
    for hint in ("family", "type", "proto", "flags"):
        for wrong in (None, "x", 1.5, 1 << 40):
            await p.wait(call, "127.0.0.1", 80, **{hint: wrong})
    await p.wait(call, None, 80, flags=socket.AI_PASSIVE)
    for name in ("localhost", "1.2.3.4.5", "münchen", "::1::", "127.0.0.1 ", "[::1]"):
        await p.wait(call, name, 80, flags=socket.AI_NUMERICHOST)


@case
async def getnameinfo(p: Probe) -> None:
    call = p.loop.getnameinfo
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    await p.wait(call, ("127.0.0.1", 80), flags)
    await p.wait(call, ("::1", 80), flags)
    await p.wait(call, ("::1", 80, 0, 0), flags)
    await p.wait(call, ("127.0.0.1", 80), socket.NI_NUMERICHOST)
    for wrong in (None, 5, "127.0.0.1", (), ("127.0.0.1",), ("127.0.0.1", "80")):
        await p.wait(call, wrong, flags)
    await p.wait(call, ("127.0.0.1", -1), flags)
    await p.wait(call, ("127.0.0.1", 1 << 20), flags)
    await p.wait(call, ("127.0.0.1", 80), "flags")
    await p.wait(call)


@debug_case
async def in_debug_mode(p: Probe) -> None:
    await p.wait(p.loop.getaddrinfo, "127.0.0.1", 80)
    await p.wait(p.loop.getnameinfo, ("127.0.0.1", 80), socket.NI_NUMERICHOST)
