"""Prepares sockets and paths for bind.

Any thread. A path that starts with a null character is an abstract name, which has no file. A path that
does not start with "/" may still be a file.
"""

from __future__ import annotations

import posix  # not os: see blockbuster in docs/compatibility/introspection.md
import socket
import stat

from ferroloop._compat import logger

__all__ = ("check_path_or_sock", "is_file", "remove_stale", "set_reuse_port")


def set_reuse_port(sock: socket.socket) -> None:
    """Let `sock` share its port. Raises asyncio's ValueError if the system cannot."""
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ValueError("reuse_port not supported by socket module")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError:
        raise ValueError(
            "reuse_port not supported by socket module, SO_REUSEPORT defined but not implemented."
        ) from None


def check_path_or_sock(path: object, sock: socket.socket | None, neither: str) -> None:
    """Check that either a path or a Unix stream socket is given.

    Raises asyncio's ValueErrors, with the text `neither` if there is neither.
    """
    if path is not None:
        if sock is not None:
            raise ValueError("path and sock can not be specified at the same time")
    elif sock is None:
        raise ValueError(neither)
    elif sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")


def is_file(path: str | bytes) -> bool:
    """Whether `path` is in the file system, and not abstract.

    Raises IndexError for an empty one, as asyncio does: the kernel would choose a name for it.
    """
    return path[0] not in {0, "\0"}


def remove_stale(path: str | bytes) -> None:
    """Remove the socket file that an earlier owner of `path` left.

    Anything else stays, and makes bind() fail. If the file cannot be removed, the error is logged.
    """
    if not is_file(path):
        return
    try:
        if stat.S_ISSOCK(posix.stat(path).st_mode):
            posix.remove(path)
    except FileNotFoundError:
        return
    except OSError as exc:
        # The directory's permissions may allow making the socket and no more.
        logger.error("Unable to check or remove stale UNIX socket %r: %r", path, exc)
