# What type checkers see of Loop: typeshed's types of asyncio's loop, with what ours takes on every Python.
#
# loop.py makes the same methods of the topic modules' functions. stubtest compares both.

import asyncio
import ssl as _ssl
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from os import PathLike
from socket import AddressFamily, SocketKind, socket
from typing import IO, Any, Literal, TypeAlias, TypeVar, overload

from typing_extensions import Buffer, TypeVarTuple, Unpack

from ferroloop._insight.metrics import Metrics
from ferroloop._loop.base import ExceptionHandler, LoopBase
from ferroloop._net.server import Server

__all__ = ("Loop", "new_event_loop")

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")
_ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)
_ProtocolFactory: TypeAlias = Callable[[], asyncio.BaseProtocol]
_Tls: TypeAlias = bool | _ssl.SSLContext | None
_Path: TypeAlias = str | bytes | PathLike[str] | PathLike[bytes]
_Stream: TypeAlias = int | IO[Any] | None
_AddressInfo: TypeAlias = (
    tuple[Literal[AddressFamily.AF_INET], SocketKind, int, str, tuple[str, int]]
    | tuple[
        Literal[AddressFamily.AF_INET6],
        SocketKind,
        int,
        str,
        tuple[str, int, int, int] | tuple[int, bytes],
    ]
)

class Loop(LoopBase):
    def __init__(self) -> None: ...

    # Closing
    def close(loop) -> None: ...
    def set_debug(loop, enabled: bool) -> None: ...
    async def shutdown_asyncgens(loop) -> None: ...
    async def shutdown_default_executor(loop, timeout: float | None = None) -> None: ...
    def metrics(loop) -> Metrics: ...
    def __del__(loop) -> None: ...

    # Errors
    def get_exception_handler(loop) -> ExceptionHandler | None: ...
    def set_exception_handler(loop, handler: ExceptionHandler | None) -> None: ...
    def default_exception_handler(loop, context: dict[str, Any]) -> None: ...
    def call_exception_handler(loop, context: dict[str, Any]) -> None: ...

    # Threads and names
    def run_in_executor(
        loop, executor: Executor | None, func: Callable[[Unpack[_Ts]], _T], *args: Unpack[_Ts]
    ) -> asyncio.Future[_T]: ...
    def set_default_executor(loop, executor: Executor) -> None: ...
    async def getaddrinfo(
        loop,
        host: str | bytes | None,
        port: str | bytes | int | None,
        *,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[_AddressInfo]: ...
    async def getnameinfo(
        loop, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int = 0
    ) -> tuple[str, str]: ...

    # Connections and servers
    @overload
    async def create_connection(
        loop,
        protocol_factory: Callable[[], _ProtocolT],
        host: str = ...,
        port: int | str = ...,
        *,
        ssl: _Tls = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: None = None,
        local_addr: tuple[str, int] | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> tuple[asyncio.Transport, _ProtocolT]: ...
    @overload
    async def create_connection(
        loop,
        protocol_factory: Callable[[], _ProtocolT],
        host: None = None,
        port: None = None,
        *,
        ssl: _Tls = None,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        sock: socket,
        local_addr: None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        happy_eyeballs_delay: float | None = None,
        interleave: int | None = None,
        all_errors: bool = False,
    ) -> tuple[asyncio.Transport, _ProtocolT]: ...
    async def create_unix_connection(
        loop,
        protocol_factory: Callable[[], _ProtocolT],
        path: _Path | None = None,
        *,
        ssl: _Tls = None,
        sock: socket | None = None,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, _ProtocolT]: ...
    async def connect_accepted_socket(
        loop,
        protocol_factory: Callable[[], _ProtocolT],
        sock: socket,
        *,
        ssl: _Tls = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, _ProtocolT]: ...
    @overload
    async def create_server(
        loop,
        protocol_factory: _ProtocolFactory,
        host: str | Sequence[str] | None = None,
        port: int | str | None = ...,
        *,
        family: int = ...,
        flags: int = ...,
        sock: None = None,
        backlog: int = 100,
        ssl: _Tls = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> Server: ...
    @overload
    async def create_server(
        loop,
        protocol_factory: _ProtocolFactory,
        host: None = None,
        port: None = None,
        *,
        family: int = ...,
        flags: int = ...,
        sock: socket,
        backlog: int = 100,
        ssl: _Tls = None,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        keep_alive: bool | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
    ) -> Server: ...
    async def create_unix_server(
        loop,
        protocol_factory: _ProtocolFactory,
        path: _Path | None = None,
        *,
        sock: socket | None = None,
        backlog: int = 100,
        ssl: _Tls = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
        start_serving: bool = True,
        cleanup_socket: bool = ...,
    ) -> Server: ...
    async def start_tls(
        loop,
        transport: asyncio.BaseTransport,
        protocol: asyncio.BaseProtocol,
        sslcontext: _ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> asyncio.Transport | None: ...
    async def create_datagram_endpoint(
        loop,
        protocol_factory: Callable[[], _ProtocolT],
        local_addr: tuple[str, int] | str | None = None,
        remote_addr: tuple[str, int] | str | None = None,
        *,
        family: int = 0,
        proto: int = 0,
        flags: int = 0,
        reuse_address: bool | None = ...,
        reuse_port: bool | None = None,
        allow_broadcast: bool | None = None,
        sock: socket | None = None,
    ) -> tuple[asyncio.DatagramTransport, _ProtocolT]: ...
    async def sendfile(
        loop,
        transport: asyncio.WriteTransport,
        file: IO[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool = True,
    ) -> int: ...

    # Sockets
    async def sock_connect(loop, sock: socket, address: Any) -> None: ...
    async def sock_accept(loop, sock: socket) -> tuple[socket, Any]: ...
    async def sock_recv(loop, sock: socket, n: int) -> bytes: ...
    async def sock_recv_into(loop, sock: socket, buf: Buffer) -> int: ...
    async def sock_recvfrom(loop, sock: socket, bufsize: int) -> tuple[bytes, Any]: ...
    async def sock_recvfrom_into(
        loop, sock: socket, buf: Buffer, nbytes: int = 0
    ) -> tuple[int, Any]: ...
    async def sock_sendall(loop, sock: socket, data: Buffer) -> None: ...
    async def sock_sendto(loop, sock: socket, data: Buffer, address: Any) -> int: ...
    async def sock_sendfile(
        loop,
        sock: socket,
        file: IO[bytes],
        offset: int = 0,
        count: int | None = None,
        *,
        fallback: bool | None = True,
    ) -> int: ...

    # Pipes, processes, signals
    async def connect_read_pipe(
        loop, protocol_factory: Callable[[], _ProtocolT], pipe: Any
    ) -> tuple[asyncio.ReadTransport, _ProtocolT]: ...
    async def connect_write_pipe(
        loop, protocol_factory: Callable[[], _ProtocolT], pipe: Any
    ) -> tuple[asyncio.WriteTransport, _ProtocolT]: ...
    async def subprocess_exec(
        self,
        protocol_factory: Callable[[], _ProtocolT],
        program: _Path,
        *args: _Path,
        stdin: _Stream = -1,
        stdout: _Stream = -1,
        stderr: _Stream = -1,
        universal_newlines: Literal[False] = False,
        shell: Literal[False] = False,
        bufsize: Literal[0] = 0,
        encoding: None = None,
        errors: None = None,
        text: Literal[False] | None = None,
        **kwargs: Any,
    ) -> tuple[asyncio.SubprocessTransport, _ProtocolT]: ...
    async def subprocess_shell(
        self,
        protocol_factory: Callable[[], _ProtocolT],
        cmd: str | bytes,
        *,
        stdin: _Stream = -1,
        stdout: _Stream = -1,
        stderr: _Stream = -1,
        universal_newlines: Literal[False] = False,
        shell: Literal[True] = True,
        bufsize: Literal[0] = 0,
        encoding: None = None,
        errors: None = None,
        text: Literal[False] | None = None,
        **kwargs: Any,
    ) -> tuple[asyncio.SubprocessTransport, _ProtocolT]: ...
    def add_signal_handler(
        loop, sig: int, callback: Callable[[Unpack[_Ts]], object], *args: Unpack[_Ts]
    ) -> None: ...
    def remove_signal_handler(loop, sig: int) -> bool: ...

def new_event_loop() -> Loop: ...
