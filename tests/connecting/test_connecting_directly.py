"""create_connection to a numeric address, which native code makes: it behaves as for any other address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest

from support.loops import run, turns, until
from support.net.protocols import Recorder, returning
from support.net.sockets import listening, silent_listener
from support.programs import run_code

Loop = asyncio.AbstractEventLoop


async def finish(transport: asyncio.BaseTransport, protocol: Recorder) -> None:
    assert isinstance(transport, asyncio.Transport)
    transport.abort()
    await protocol.wait_lost()


@pytest.mark.parametrize("name", ["_ensure_resolved", "_make_socket_transport", "sock_connect"])
async def test_a_connection_goes_through_what_a_program_put_in_place(
    loop: Loop, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    own = getattr(loop, name)

    def replacement(*args: Any, **kwargs: Any) -> Any:
        called.append(name)
        return own(*args, **kwargs)

    monkeypatch.setattr(loop, name, replacement)
    with listening() as listener:
        protocol = Recorder()
        transport, _ = await loop.create_connection(returning(protocol), *listener.getsockname())
        assert set(called) == {name}
        await finish(transport, protocol)


async def test_a_program_that_replaced_the_socket_class_is_asked(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forbidden(socket.socket):
        def connect(self, address: Any) -> None:
            raise PermissionError(f"no connections, not to {address[0]}")

    with listening() as listener:
        address = listener.getsockname()
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", Forbidden)
            with pytest.raises(PermissionError, match=r"not to 127\.0\.0\.1"):
                await loop.create_connection(Recorder, *address)
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "connect", Forbidden.connect)
            with pytest.raises(PermissionError, match=r"not to 127\.0\.0\.1"):
                await loop.create_connection(Recorder, *address)


def test_an_audit_hook_sees_and_can_forbid_connections(kind: str) -> None:
    status, out, err = run_code(
        kind,
        """
        import socket, sys

        def hook(event, args):
            if event == "socket.connect":
                print(type(args[0]).__name__, args[1][0])
                if args[1][0] == "127.0.0.2":
                    raise PermissionError("forbidden")

        async def main():
            loop = asyncio.get_running_loop()
            with socket.create_server(("127.0.0.1", 0)) as listener:
                host, port = listener.getsockname()
                sys.addaudithook(hook)
                transport, _ = await loop.create_connection(asyncio.Protocol, host, port)
                transport.abort()
                try:
                    await loop.create_connection(asyncio.Protocol, "127.0.0.2", port)
                except PermissionError as error:
                    print(error)

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
        """,
    )
    assert (status, out, err) == (0, "socket 127.0.0.1\nsocket 127.0.0.2\nforbidden\n", "")


@pytest.mark.slow
def test_a_connection_that_has_to_wait_is_made(loop: Loop) -> None:
    protocol = Recorder()
    silent, waiting = silent_listener()

    async def main() -> None:
        connecting = loop.create_task(
            loop.create_connection(returning(protocol), *silent.getsockname())
        )
        await turns()
        assert not connecting.done()
        # Room in the queue: the kernel knocks again within a second or two.
        silent.setblocking(False)
        accepted: list[socket.socket] = []

        def made() -> bool:
            with contextlib.suppress(BlockingIOError):
                accepted.append(silent.accept()[0])
            return connecting.done()

        await until(made)
        transport, _ = await connecting
        assert transport.get_extra_info("peername") == silent.getsockname()
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        await finish(transport, protocol)
        for sock in accepted:
            sock.close()

    run(loop, main())
    silent.close()
    for sock in waiting:
        sock.close()


async def test_what_a_program_sees_of_the_socket(loop: Loop) -> None:
    protocol = Recorder()

    with listening() as listener:
        address = listener.getsockname()
        transport, _ = await loop.create_connection(returning(protocol), *address)
        sock = transport.get_extra_info("socket")
        assert (sock.family, sock.type, sock.proto) == (
            socket.AF_INET,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
        )
        assert sock.gettimeout() == 0
        assert sock.getpeername() == transport.get_extra_info("peername") == address
        own = transport.get_extra_info("sockname")
        assert sock.getsockname() == own
        await finish(transport, protocol)
        assert transport.get_extra_info("peername") == address
        assert transport.get_extra_info("sockname") == own
        assert transport.get_extra_info("socket") is not None
