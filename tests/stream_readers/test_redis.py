"""redis-py's asyncio client, which uses asyncio's streams, against a real server."""

from __future__ import annotations

import importlib.util

import pytest

from support.programs import finish, start
from support.redis import redis_server

pytestmark = [pytest.mark.frameworks, pytest.mark.slow]

PROGRAM = """
import asyncio, sys
import redis.asyncio as redis

async def main():
    where = {"port": int(sys.argv[1])} if sys.argv[1].isdigit() else {"unix_socket_path": sys.argv[1]}
    client = redis.Redis(**where)
    large = bytes(range(256)) * 1000
    await client.set("large", large)
    assert await client.get("large") == large
    async with client.pipeline() as pipeline:
        for number in range(1000):
            pipeline.set(f"key{number}", number)
        assert await pipeline.execute() == [True] * 1000
    found = await asyncio.gather(*[client.get(f"key{number}") for number in range(50)])
    assert found == [b"%d" % number for number in range(50)]
    pubsub = client.pubsub()
    await pubsub.subscribe("channel")
    await client.publish("channel", "text")
    async for message in pubsub.listen():
        if message["type"] == "message":
            assert message["data"] == b"text"
            break
    waiting = asyncio.ensure_future(client.blpop(["nothing"], timeout=60))
    await asyncio.sleep(0.05)
    waiting.cancel()
    try:
        await waiting
    except asyncio.CancelledError:
        pass
    assert await client.get("key1") == b"1"
    print(type(client.connection_pool._available_connections[0]._reader).__module__.partition(".")[0])
    await pubsub.aclose()
    await client.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("runner", "package"),
    [
        ((), "asyncio"),
        (("-m", "ferroloop"), "asyncio"),
        (("-m", "ferroloop", "--native-streams"), "ferroloop"),
    ],
    ids=["asyncio", "ferroloop", "native streams"],
)
def test_the_client_works(runner: tuple[str, ...], package: str) -> None:
    if importlib.util.find_spec("redis") is None:
        pytest.skip("redis is not installed")
    with redis_server() as places:
        for place in places:
            arguments = [*runner, "-c", PROGRAM, str(place)]
            status, out, err = finish(start(arguments))
            assert (status, out) == (0, f"{package}\n"), err
