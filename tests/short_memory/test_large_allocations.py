"""Programs whose address space is limited, so that what they ask a loop to keep cannot be allocated.

MemoryError comes out of the call, as from asyncio, and the transport and the loop are as before. A process that ended
by a signal has lost everything.
"""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from support.programs import run_code

pytestmark = pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    reason="the allocator of free-threaded builds still has memory after the limit",
)

TESTS = str(Path(__file__).resolve().parents[1])

PREPARE = """
import os, resource, socket, ssl, sys, tempfile

SIZE = 150_000_000

async def pair(protocol=asyncio.Protocol):
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    far.setblocking(False)
    transport, _ = await loop.create_connection(protocol, sock=near)
    return transport, far

class limited:
    '''Leaves so many more bytes of address space than are in use.'''

    def __init__(self, more=60_000_000):
        self.more = more

    def __enter__(self):
        with open('/proc/self/statm') as file:
            used = int(file.read().split()[0]) * os.sysconf('SC_PAGE_SIZE')
        self.before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + self.more, self.before[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_AS, self.before)

def refused(call, *args, more=60_000_000):
    with limited(more):
        try:
            call(*args)
        except MemoryError:
            return
    raise AssertionError('there was memory')

async def read(far, count):
    loop = asyncio.get_running_loop()
    data = b''
    while len(data) < count:
        data += await loop.sock_recv(far, 1 << 20)
    return data

async def goes_on(transport, far, waiting):
    assert transport.get_write_buffer_size() == waiting
    assert not transport.is_closing()
    transport.write(b'end')
    assert (await read(far, 10_000_003)).endswith(b'end')
    transport.close()
    far.close()
    print('done')
"""


def run(kind: str, program: str, **names: str) -> None:
    """Run a program in which `names` have values; it says `done` at its end."""
    given = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    end = "loop = new_loop()\nloop.run_until_complete(main())\nloop.close()"
    status, out, err = run_code(kind, f"{given}{PREPARE}{program}\n{end}")
    assert (status, out.strip()) == (0, "done"), (status, out, err[-2000:])


def test_a_write_that_cannot_be_copied_is_refused(kind: str) -> None:
    run(
        kind,
        """
async def main():
    transport, far = await pair()
    big = bytearray(SIZE)
    # The kernel's buffer is full, so that the data has to be kept.
    transport.write(bytes(10_000_000))
    waiting = transport.get_write_buffer_size()
    assert waiting > 0
    if sys.version_info < (3, 12) or 'ferroloop' in type(asyncio.get_running_loop()).__module__:
        # asyncio keeps a view of the buffer since 3.12.
        refused(transport.write, big)
    await goes_on(transport, far, waiting)
""",
    )


def test_lines_that_cannot_be_copied_are_refused(kind: str) -> None:
    run(
        kind,
        """
async def main():
    transport, far = await pair()
    big = bytearray(SIZE)
    transport.write(bytes(10_000_000))
    waiting = transport.get_write_buffer_size()
    if sys.version_info < (3, 12) or 'ferroloop' in type(asyncio.get_running_loop()).__module__:
        # asyncio keeps a view of the buffer since 3.12.
        refused(transport.writelines, [b'a', big])
    await goes_on(transport, far, waiting)
""",
    )


def test_a_pipe_refuses_what_cannot_be_copied(kind: str) -> None:
    run(
        kind,
        """
async def main():
    loop = asyncio.get_running_loop()
    read_end, write_end = os.pipe()
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(write_end, 'wb', 0))
    big = bytearray(SIZE)
    transport.write(bytes(1_000_000))
    waiting = transport.get_write_buffer_size()
    assert waiting > 0
    refused(transport.write, big)
    assert transport.get_write_buffer_size() == waiting
    assert not transport.is_closing()
    transport.abort()
    await asyncio.sleep(0.01)
    os.close(read_end)
    print('done')
""",
    )


def test_the_input_of_a_process_refuses_what_cannot_be_copied(kind: str) -> None:
    run(
        kind,
        """
async def main():
    process = await asyncio.create_subprocess_exec(
        '/bin/cat', stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL)
    big = bytearray(SIZE)
    refused(process.stdin.write, big)
    assert not process.stdin.is_closing()
    process.kill()
    await process.wait()
    print('done')
""",
    )


def test_a_datagram_that_cannot_be_copied_is_refused(kind: str) -> None:
    run(
        kind,
        """
async def main():
    loop = asyncio.get_running_loop()
    near, far = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
    far.bind('')
    near.connect(far.getsockname())
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=near)
    # The peer does not read.
    while not transport.get_write_buffer_size():
        transport.sendto(bytes(1000))
    waiting = transport.get_write_buffer_size()
    big = bytearray(SIZE)
    refused(transport.sendto, big)
    assert transport.get_write_buffer_size() == waiting
    assert not transport.is_closing()
    transport.abort()
    await asyncio.sleep(0)
    far.close()
    print('done')
""",
    )


def test_tls_refuses_what_cannot_be_copied(kind: str) -> None:
    run(
        kind,
        """
sys.path.insert(0, TESTS)
from support.net.certificates import client_context, server_context

async def main():
    loop = asyncio.get_running_loop()
    class Server(asyncio.Protocol):
        count = 0
        def data_received(self, data):
            self.count += len(data)
    made = []
    def factory():
        made.append(Server())
        return made[-1]
    server = await loop.create_server(factory, '127.0.0.1', 0, ssl=server_context())
    transport, _ = await loop.create_connection(
        asyncio.Protocol, *server.sockets[0].getsockname(), ssl=client_context(),
        server_hostname='localhost')
    big = bytearray(SIZE)
    if 'ferroloop' in type(loop).__module__:
        # asyncio keeps a view of the buffer.
        refused(transport.write, big)
    assert not transport.is_closing()
    transport.write(b'x' * 100_000)
    while not made or made[0].count < 100_000:
        await asyncio.sleep(0.001)
    transport.close()
    server.close()
    await asyncio.sleep(0.05)
    print('done')
""",
        TESTS=TESTS,
    )


def test_receiving_more_than_there_is_memory_for_takes_what_has_come(kind: str) -> None:
    run(
        kind,
        """
async def main():
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    far.send(b'data')
    with limited():
        try:
            data = await loop.sock_recv(near, 1 << 40)
        except MemoryError:
            # asyncio asks for all of it first.
            data = await loop.sock_recv(near, 100)
    assert data == b'data'
    near.close()
    far.close()
    print('done')
""",
    )


@pytest.mark.ours_only("asyncio's timers and queue run out within its own turn")
@pytest.mark.parametrize("what", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_a_queue_that_cannot_grow_refuses(kind: str, what: str) -> None:
    run(
        kind,
        """
async def main():
    loop = asyncio.get_running_loop()
    ran = [0]
    def run():
        ran[0] += 1
    schedule = getattr(loop, WHAT)
    first = () if 'soon' in WHAT else (0.0,)
    queued = 0
    # One object for all, so that what grows is the queue.
    with limited(20_000_000):
        try:
            while True:
                schedule(*first, run)
                queued += 1
        except MemoryError:
            pass
    assert queued > 10_000, queued
    while ran[0] < queued:
        await asyncio.sleep(0)
    assert ran[0] == queued
    schedule(*first, run)
    while ran[0] == queued:
        await asyncio.sleep(0)
    print('done')
""",
        WHAT=what,
    )


@pytest.mark.ours_only("asyncio has one buffer before 3.12, and then runs out within its own turn")
def test_a_million_chunks_that_cannot_be_kept_are_refused(kind: str) -> None:
    run(
        kind,
        """
async def main():
    transport, far = await pair()
    transport.write(bytes(10_000_000))
    written = 0
    with limited(40_000_000):
        try:
            while True:
                transport.write(b'x')
                written += 1
        except MemoryError:
            pass
    assert not transport.is_closing()
    data = await read(far, 10_000_000 + written)
    assert len(data) == 10_000_000 + written
    transport.close()
    far.close()
    print('done')
""",
    )


def test_a_reader_that_cannot_keep_more_loses_its_connection(kind: str) -> None:
    run(
        kind,
        """
async def main():
    near, far = socket.socketpair()
    streams = asyncio
    if 'ferroloop' in type(asyncio.get_running_loop()).__module__:
        import ferroloop as streams
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    reader, writer = await streams.open_connection(sock=near, limit=1 << 40)
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    piece = bytes(1 << 20)
    async def send():
        try:
            while True:
                await loop.sock_sendall(far, piece)
        except OSError:
            pass
    with limited(100_000_000):
        try:
            await asyncio.wait_for(asyncio.gather(send(), reader.read()), 20)
        except MemoryError:
            pass
    writer.close()
    far.close()
    await asyncio.sleep(0)
    print('done')
""",
    )


def test_datagrams_that_there_is_no_room_for_end_the_endpoint(kind: str) -> None:
    run(
        kind,
        """
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)
    ended = loop.create_future()
    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data, address):
            ended.set_result(data)
        def connection_lost(self, error):
            if not ended.done():
                ended.set_result(error)
    transport, _ = await loop.create_datagram_endpoint(Protocol, ('127.0.0.1', 0))
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.sendto(b'data', transport.get_extra_info('sockname'))
    with limited(100_000):
        # Fill what the allocators have in reserve.
        kept = []
        try:
            while True:
                kept.append(bytearray(60_000))
        except MemoryError:
            kept = kept[:-4]
        result = await ended
    del kept
    assert result == b'data' or isinstance(result, MemoryError), result
    transport.close()
    await asyncio.sleep(0)
    print('done')
""",
    )


@pytest.mark.ours_only("asyncio's selector has no table of descriptors")
def test_a_descriptor_of_any_number_ends_no_process(kind: str) -> None:
    run(
        kind,
        """
async def main():
    loop = asyncio.get_running_loop()
    for number in (1 << 20, (1 << 31) - 1):
        try:
            loop.add_reader(number, print)
        except (OSError, MemoryError):
            pass
        else:
            raise AssertionError(number)
    print('done')
""",
    )
