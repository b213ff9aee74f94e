"""Connects a socket to one of several addresses, in turn or in a race (happy eyeballs).

Owns each socket from its creation until it returns it; called in the loop's thread.
The exceptions of failed attempts refer to frames, so every list of them is cleared before returning.
"""

from __future__ import annotations

import functools
import itertools
import socket
import sys
from typing import TYPE_CHECKING, Any

from ferroloop._compat import RACES_RAISE_GROUPS, staggered_race
from ferroloop._net.sockets import begin_connect, sock_connect, wait_connected

if TYPE_CHECKING:
    from ferroloop._loop.base import AddressInfo, LoopBase

__all__ = ("close_quietly", "connect_any", "interleave_infos")

#: Saves a system call for each socket, where the system has it.
_NONBLOCK: int = getattr(socket, "SOCK_NONBLOCK", 0)


async def connect_any(
    loop: LoopBase,
    infos: list[AddressInfo],
    local_infos: list[AddressInfo] | None,
    delay: float | None,
    all_errors: bool,
) -> socket.socket:
    """Return a new socket that is connected to one of `infos`, tried in turn or in a race."""
    if all_errors and sys.version_info < (3, 11):
        raise TypeError("all_errors needs ExceptionGroup, which Python has since 3.11")
    failures: list[list[OSError]] = []
    try:
        if delay is not None:
            sock = await _connect_racing(loop, infos, local_infos, failures, delay)
            if sock is not None:
                _check_delay(delay, sock)
                return sock
        else:
            for info in infos:
                try:
                    return await _connect_one(loop, info, local_infos, failures)
                except OSError:
                    continue
        raise _summary(failures, all_errors)
    finally:
        # The exceptions' tracebacks hold this frame (gh-88863).
        del failures


def _check_delay(delay: Any, sock: socket.socket) -> None:
    """Close `sock` and raise what asyncio raises for a `happy_eyeballs_delay` that is no number.

    asyncio finds out when its race waits for the first attempt; ours may have connected by then.
    """
    try:
        delay <= 0  # noqa: B015 - for what it raises
    except Exception as exc:
        close_quietly(sock)
        if RACES_RAISE_GROUPS and sys.version_info >= (3, 11):
            raise ExceptionGroup("staggered race failed", [exc]) from None  # noqa: F821 - as below
        raise


async def _connect_racing(
    loop: LoopBase,
    infos: list[AddressInfo],
    local_infos: list[AddressInfo] | None,
    failures: list[list[OSError]],
    delay: float,
) -> socket.socket | None:
    """Start an attempt every `delay` seconds and take the first that connects (RFC 8305)."""
    connected: list[socket.socket] = []
    winner: socket.socket | None = None

    async def attempt(info: AddressInfo) -> socket.socket:
        sock = await _connect_one(loop, info, local_infos, failures)
        connected.append(sock)
        return sock

    try:
        attempts = [functools.partial(attempt, info) for info in infos]
        # Unpacking would keep the race's exceptions in this frame.
        winner = (await staggered_race(attempts, delay, loop=loop))[0]
        return winner
    finally:
        # Two attempts may connect in one turn, and a cancelled race drops its winner.
        for sock in connected:
            if sock is not winner:
                sock.close()
        # The race's frames hold `attempt`, which must not hold the exceptions (gh-124858).
        failures = []


async def _connect_one(
    loop: LoopBase,
    info: AddressInfo,
    local_infos: list[AddressInfo] | None,
    failures: list[list[OSError]],
) -> socket.socket:
    """Open, bind and connect one socket; every OSError on the way is noted in `failures`."""
    noted: list[OSError] = []
    failures.append(noted)
    family, kind, proto, _, address = info
    sock: socket.socket | None = None
    try:
        sock = socket.socket(family, kind | _NONBLOCK, proto)
        if not _NONBLOCK:
            sock.setblocking(False)
        if local_infos is not None:
            _bind_local(sock, family, local_infos, noted)
        if getattr(loop.sock_connect, "__func__", None) is not sock_connect:
            await loop.sock_connect(sock, address)  # a subclass's, or a replaced one
        elif not begin_connect(sock, address):
            await wait_connected(loop, sock, address)
        return sock
    except BaseException as exc:
        if isinstance(exc, OSError):
            noted.append(exc)
        if sock is not None:
            close_quietly(sock)
        raise
    finally:
        # The noted exceptions' tracebacks hold this frame (gh-88863).
        del failures, noted


def _bind_local(
    sock: socket.socket, family: int, local_infos: list[AddressInfo], noted: list[OSError]
) -> None:
    """Bind `sock` to the first usable local address of its family; raise if there is none."""
    failed: OSError | None = None
    try:
        for local_family, _, _, _, address in local_infos:
            if local_family != family:
                continue
            try:
                sock.bind(address)
            except OSError as exc:
                if failed is not None:
                    noted.append(failed)
                failed = _bind_error(exc, "error while attempting to bind on address", address)
            else:
                if failed is not None:
                    noted.append(failed)
                return
        if failed is not None:
            raise failed
        raise OSError(f"no matching local address with {family=} found")
    finally:
        del failed, noted


def _bind_error(exc: OSError, problem: str, address: Any) -> OSError:
    """An OSError like `exc` that names `address`, worded as by asyncio of this version."""
    reason = str(exc)
    if sys.version_info < (3, 13) and exc.strerror is not None:
        reason = exc.strerror
    return OSError(exc.errno, f"{problem} {address!r}: {reason.lower()}")


def close_quietly(sock: socket.socket) -> None:
    """Close a socket while another exception propagates; an error of closing is dropped."""
    try:
        sock.close()
    except OSError:
        return


def _summary(failures: list[list[OSError]], all_errors: bool) -> Exception:
    """Return an exception that describes all of `failures`."""
    exceptions = [exc for noted in failures for exc in noted]
    try:
        if not exceptions:
            return TimeoutError("create_connection failed")
        if sys.version_info >= (3, 11) and all_errors:
            return ExceptionGroup("create_connection failed", exceptions)  # noqa: F821 - see the condition
        first = str(exceptions[0])
        if all(str(exc) == first for exc in exceptions):
            return exceptions[0]
        texts = ", ".join(str(exc) for exc in exceptions)
        return OSError(f"Multiple exceptions: {texts}")
    finally:
        del exceptions, failures


def interleave_infos(infos: list[AddressInfo], first_count: int) -> list[AddressInfo]:
    """Order `infos` so that families alternate, after `first_count` of the first (RFC 8305)."""
    by_family: dict[int, list[AddressInfo]] = {}
    for info in infos:
        by_family.setdefault(info[0], []).append(info)
    families = list(by_family.values())
    ahead: list[AddressInfo] = []
    if first_count > 1:
        ahead = families[0][: first_count - 1]
        families[0] = families[0][first_count - 1 :]
    rounds = itertools.zip_longest(*families)
    return ahead + [info for one_round in rounds for info in one_round if info is not None]
