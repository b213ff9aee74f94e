"""Programs that put a socket class of their own in place, and audit hooks that watch sockets."""

from __future__ import annotations

import pytest

from support.programs import run_code


@pytest.mark.parametrize("replaced", ["function", "subclass", "init"])
def test_a_socket_class_that_was_replaced_before_the_import_is_used(
    kind: str, replaced: str
) -> None:
    status, out, err = run_code(
        "asyncio",
        f"""
        import socket
        true = socket.socket
        made = []

        def function(*args, **kwargs):
            made.append("made")
            return true(*args, **kwargs)

        class Subclass(true):
            def __init__(self, *args, **kwargs):
                made.append("made")
                super().__init__(*args, **kwargs)

        own = true.__init__

        def init(self, *args, **kwargs):
            made.append("made")
            own(self, *args, **kwargs)

        if {replaced!r} == "init":
            true.__init__ = init
        else:
            socket.socket = {{"function": function, "subclass": Subclass}}[{replaced!r}]
        if {kind!r} != "asyncio":
            import importlib
            new_loop = importlib.import_module({kind!r}).new_event_loop

        async def main():
            loop = asyncio.get_running_loop()
            with true() as listener:
                listener.bind(("127.0.0.1", 0))
                listener.listen()
                del made[:]
                transport, _ = await loop.create_connection(
                    asyncio.Protocol, *listener.getsockname()
                )
                print(made)
                transport.abort()
                await asyncio.sleep(0)

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
        """,
    )
    assert (status, out, err) == (0, "['made']\n", "")


@pytest.mark.parametrize("name", ["__init__", "close", "detach"])
def test_the_import_does_not_mind_what_a_test_has_put_in_place(kind: str, name: str) -> None:
    if kind == "asyncio":
        pytest.skip("asyncio is imported before")
    status, out, err = run_code(
        "asyncio",
        f"""
        import importlib, socket
        from unittest import mock
        with mock.patch.object(socket.socket, {name!r}):
            new_loop = importlib.import_module({kind!r}).new_event_loop
        loop = new_loop()
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        """,
    )
    assert (status, out, err) == (0, "", "")


def test_a_socket_class_of_a_test_is_not_used_after_it(kind: str) -> None:
    status, out, err = run_code(
        kind,
        """
        import socket
        from unittest import mock

        class Guarded(socket.socket):
            def __new__(cls, *args, **kwargs):
                raise RuntimeError("no sockets")

        async def first():
            left, right = socket.socketpair()
            with left, right, mock.patch("socket.socket", Guarded):
                left.setblocking(False)
                right.send(b"x")
                print(await asyncio.get_running_loop().sock_recv(left, 1))

        async def second():
            with socket.create_server(("127.0.0.1", 0)) as listener:
                transport, _ = await asyncio.get_running_loop().create_connection(
                    asyncio.Protocol, *listener.getsockname()
                )
                print(type(transport.get_extra_info("socket")._sock))
                transport.abort()
                await asyncio.sleep(0)

        for main in (first, second):
            loop = new_loop()
            loop.run_until_complete(main())
            loop.close()
        """,
    )
    assert (status, out, err) == (0, "b'x'\n<class 'socket.socket'>\n", "")


def test_an_audit_hook_that_refuses_ferroloops_own_events_stops_no_connection(kind: str) -> None:
    status, out, err = run_code(
        kind,
        """
        import socket, sys

        def hook(event, args):
            if event.startswith("ferroloop"):
                raise RuntimeError(f"not allowed: {event}")

        async def main():
            loop = asyncio.get_running_loop()
            server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
            sys.addaudithook(hook)
            address = server.sockets[0].getsockname()
            transport, _ = await loop.create_connection(asyncio.Protocol, *address)
            print("connected")
            transport.abort()
            server.close()
            await asyncio.sleep(0.01)

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
        """,
    )
    assert (status, out, err) == (0, "connected\n", "")


def test_an_audit_hook_sees_accepted_sockets_and_lookups(kind: str) -> None:
    status, out, err = run_code(
        kind,
        """
        import socket, sys
        seen = []

        def hook(event, args):
            if event in ("socket.__new__", "socket.getaddrinfo"):
                seen.append(event)
                if forbidden and event == "socket.__new__":
                    raise PermissionError("no more sockets")

        async def main():
            global forbidden
            forbidden = False
            loop = asyncio.get_running_loop()
            reports = []
            loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))
            server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            with socket.create_connection(address), socket.create_connection(address) as other:
                sys.addaudithook(hook)
                while not seen:
                    await asyncio.sleep(0)
                print(set(seen))
                del seen[:]
                await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
                print(seen)
            client = socket.socket()
            forbidden = True
            client.connect(address)
            while not reports:
                await asyncio.sleep(0)
            print(repr(reports[0]))
            forbidden = False
            client.close()
            server.close()
            await asyncio.sleep(0.01)

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
        """,
    )
    expected = "{'socket.__new__'}\n['socket.getaddrinfo']\nPermissionError('no more sockets')\n"
    assert (status, out, err) == (0, expected, "")


@pytest.mark.parametrize("method", ["sendto", "send", "recvfrom"])
def test_a_datagram_sockets_own_methods_are_called(kind: str, method: str) -> None:
    status, out, err = run_code(
        kind,
        f"""
        import asyncio, socket
        called = []

        class Own(socket.socket):
            def {method}(self, *args):
                called.append({method!r})
                return super().{method}(*args)

        async def main():
            loop = asyncio.get_running_loop()
            received = loop.create_future()

            class Protocol(asyncio.DatagramProtocol):
                def datagram_received(self, data, addr):
                    received.set_result(data)

            sock = Own(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("127.0.0.1", 0))
            if {method!r} == "send":
                sock.connect(sock.getsockname())
            transport, _ = await loop.create_datagram_endpoint(Protocol, sock=sock)
            address = None if {method!r} == "send" else sock.getsockname()
            transport.sendto(b"data", address)
            print(await received, bool(called))
            transport.close()

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
        """,
    )
    assert (status, out.split(), err) == (0, ["b'data'", "True"], "")


def test_an_audit_hook_hears_of_datagrams_and_may_refuse_them(kind: str) -> None:
    status, out, err = run_code(
        kind,
        """
        import asyncio, sys
        heard = []

        def hook(event, args):
            if event == "socket.sendto":
                heard.append(event)
                raise PermissionError("no")

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: None)
            lost = loop.create_future()

            class Protocol(asyncio.DatagramProtocol):
                def error_received(self, exc):
                    lost.set_result(exc)

            transport, _ = await loop.create_datagram_endpoint(
                Protocol, local_addr=("127.0.0.1", 0)
            )
            sys.addaudithook(hook)
            transport.sendto(b"data", transport.get_extra_info("sockname"))
            print(heard, repr(await lost))
            transport.close()

        loop = new_loop()
        loop.run_until_complete(main())
        loop.close()
        """,
    )
    assert (status, out.strip(), err) == (0, "['socket.sendto'] PermissionError('no')", "")
