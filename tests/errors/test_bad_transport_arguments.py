"""Bad arguments of transports' methods: refused with asyncio's exception and text, on connections of each kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.loops import run
from support.net.connections import WRITABLE, connected
from support.net.protocols import DatagramRecorder, Recorder

Loop = asyncio.AbstractEventLoop


def refusal(loop: Loop, kind: str, method: str, *arguments: Any) -> tuple[type, str]:
    """What the method raises."""

    async def call() -> tuple[type, str]:
        protocol = DatagramRecorder() if kind == "datagrams" else Recorder()
        async with connected(kind, protocol):
            with pytest.raises((Exception,)) as caught:
                getattr(protocol.transport, method)(*arguments)
            assert not protocol.transport.is_closing()
        return caught.type, str(caught.value)

    return run(loop, call())


def refused_as_by_asyncio(loop: Loop, kind: str, method: str, *arguments: Any) -> type:
    """Check that both loops refuse the call with the same words; the exception's type."""
    reference = asyncio.SelectorEventLoop()
    try:
        # Only ferroloop has another way to OpenSSL.
        expected = refusal(reference, kind.partition(",")[0], method, *arguments)
    finally:
        reference.close()
    assert refusal(loop, kind, method, *arguments) == expected
    return expected[0]


@pytest.mark.parametrize("transport", WRITABLE)
@pytest.mark.parametrize("bad", ["text", 5, None, [b"x"]], ids=repr)
def test_only_bytes_can_be_written(loop: Loop, transport: str, bad: Any) -> None:
    method = "sendto" if transport == "datagrams" else "write"
    error = AssertionError if transport == "write pipe" else TypeError
    assert refused_as_by_asyncio(loop, transport, method, bad) is error


@pytest.mark.parametrize("transport", WRITABLE)
@pytest.mark.parametrize(
    ("high", "low"), [(1, 2), (-1, None), (-4, None), (None, -1), (5, -1), (0, 1)]
)
def test_impossible_write_limits_are_refused(
    loop: Loop, transport: str, high: int | None, low: int | None
) -> None:
    method = "set_write_buffer_limits"
    assert refused_as_by_asyncio(loop, transport, method, high, low) is ValueError


@pytest.mark.parametrize("transport", ["tcp", "unix"])
@pytest.mark.parametrize("method", ["write", "writelines"])
async def test_writing_after_write_eof_is_refused(loop: Loop, transport: str, method: str) -> None:
    protocol = Recorder()

    async with connected(transport, protocol):
        protocol.transport.write_eof()
        with pytest.raises(RuntimeError, match=r"^Cannot call \w+\(\) after write_eof\(\)$"):
            getattr(protocol.transport, method)(b"x" if method == "write" else [b"x"])
