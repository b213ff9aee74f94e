"""Random calls with random values on every native object: its methods, its attributes, its class."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import random
import socket
from collections.abc import Callable
from typing import Any

import ferroloop
from ferroloop import _native
from support.net.certificates import client_context, server_context

from . import watch
from .evil import values

#: How many calls a program makes.
CALLS = 300
#: A watch of a process that is not ours could signal it.
NOT_MADE = {"ProcessWatch"}
#: They would end the program, or stop it from looking.
NOT_CALLED = {"send_signal", "kill", "terminate", "__class__", "__setattr__", "__delattr__"}
#: They wait for what happens next.
RUNS = {"run_forever", "run_until_complete", "_run_once"}
CLASSES = [
    found
    for name, found in vars(_native).items()
    if inspect.isclass(found) and name not in NOT_MADE
]


class Quiet(asyncio.Protocol, asyncio.DatagramProtocol, asyncio.SubprocessProtocol):
    """A protocol that does nothing."""


class Calls:
    """One random program."""

    def __init__(self, seed: int) -> None:
        """Take the seed that decides everything."""
        self.choices = random.Random(seed)
        self.loop = ferroloop.new_event_loop()
        self.loop.set_exception_handler(watch.on_report)
        self.makers = values(self.choices, self.trick)
        self.objects: list[Any] = []
        self.sockets: list[Any] = []
        self.depth = 0

    def trick(self) -> None:
        """What evil objects do when they are asked for something."""
        if self.choices.random() < 0.2 and self.depth < 5:
            self.call()

    def value(self) -> Any:
        """A random value, sometimes one of the objects."""
        if self.objects and self.choices.random() < 0.25:
            return self.choices.choice([*self.objects, self.loop])
        return self.choices.choice(self.makers)()

    async def make(self) -> None:
        """One object of every kind that a program can get at."""
        loop, keep = self.loop, self.objects.append
        for handle in loop.call_soon(int), loop.call_later(60, int), loop.call_soon_threadsafe(int):
            keep(handle)
        ours, theirs = socket.socketpair()
        self.sockets.append(theirs)
        keep((await loop.create_connection(Quiet, sock=ours))[0])
        ours, theirs = socket.socketpair()
        accepted = loop.connect_accepted_socket(Quiet, theirs, ssl=server_context())
        options: Any = {"ssl": client_context(), "server_hostname": "localhost"}
        made: Any = await asyncio.gather(
            accepted, loop.create_connection(Quiet, sock=ours, **options)
        )
        for transport, _ in made:
            keep(transport)
            keep(transport._ssl_protocol)
        keep((await loop.create_datagram_endpoint(Quiet, local_addr=("127.0.0.1", 0)))[0])
        reading, writing = os.pipe()
        keep((await loop.connect_read_pipe(Quiet, os.fdopen(reading, "rb", 0)))[0])
        keep((await loop.connect_write_pipe(Quiet, os.fdopen(writing, "wb", 0)))[0])
        server = await loop.create_server(Quiet, "127.0.0.1", 0)
        keep(server)
        self.objects.extend(getattr(server, "_listeners", []))
        ours, theirs = socket.socketpair()
        self.sockets.append(theirs)
        reader, writer = await ferroloop.open_connection(sock=ours)
        self.objects.extend([reader, writer, writer.transport, writer.transport.get_protocol()])
        self.objects.extend([reader.read(3), reader.readline(), writer.drain()])
        keep(loop)

    def call(self) -> None:
        """Make one random call."""
        self.depth += 1
        try:
            if self.choices.random() < 0.15:
                self.construct()
            else:
                self.use(self.choices.choice(self.objects))
        except (KeyboardInterrupt, SystemExit):
            pass
        except BaseException as error:
            watch.check(error)
        finally:
            self.depth -= 1

    def construct(self) -> None:
        """Make an object of a native class, or one that was never initialised."""
        cls: Any = self.choices.choice(CLASSES)
        if self.choices.random() < 0.3:
            made = cls.__new__(cls)
        else:
            made = self.invoke(cls, first=[self.loop, self.value()])
        if len(self.objects) < 60:
            self.objects.append(made)

    def use(self, thing: Any) -> None:
        """Get, set, delete or call a random attribute."""
        names = [name for name in dir(thing) if name not in NOT_CALLED]
        name = self.choices.choice(names)
        what = self.choices.random()
        if what < 0.08 and thing is self.loop:
            # A loop whose methods are not the loop's cannot be stopped.
            return
        if what < 0.06:
            setattr(thing, name, self.value())
        elif what < 0.08:
            delattr(thing, name)
        elif what < 0.12:
            repr(thing)
            thing == self.value()  # noqa: B015 - what the comparison does is the matter
            hash(thing)
        else:
            found = getattr(thing, name)
            if callable(found):
                self.run(name, found)

    def run(self, name: str, found: Callable[..., Any]) -> None:
        """Call a method; a run is stopped soon."""
        if name in RUNS and self.loop.is_running():
            return
        result = self.invoke(found, first=[self.value()])
        if inspect.iscoroutine(result) or hasattr(result, "send"):
            # Its first step, like a task's.
            result.send(None)

    def invoke(self, found: Callable[..., Any], first: list[Any]) -> Any:
        """Call with random arguments; often as many as it wants."""
        try:
            parameters = list(inspect.signature(found).parameters.values())
        except (ValueError, TypeError):
            parameters = []
        count = len(parameters) if self.choices.random() < 0.7 else self.choices.randrange(5)
        arguments = [self.value() for _ in range(count)]
        if arguments:
            arguments[0] = self.choices.choice([*first, arguments[0]])
        keywords: dict[str, Any] = {}
        while arguments and self.choices.random() < 0.2:
            place = len(arguments) - 1
            named = place < len(parameters)
            keywords[parameters[place].name if named else "context"] = arguments.pop()
        if getattr(found, "__name__", "") in RUNS:
            # Just before: evil arguments may have run the loop meanwhile.
            found.__self__.stop()  # type: ignore[attr-defined]
        watch.note(getattr(found, "__qualname__", type(found).__name__))
        return found(*arguments, **keywords)

    def step(self, *, calls: int) -> None:
        """A turn of the loop, in which calls are made."""
        try:
            for _ in range(calls):
                self.loop.call_soon(self.call)
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
        except BaseException as error:
            watch.check(error)

    def end(self) -> None:
        """Close everything."""
        self.depth = 100
        for thing in self.objects:
            for method in "close", "abort":
                try:
                    getattr(thing, method)()
                except BaseException as error:
                    watch.check(error)
        for sock in self.sockets:
            sock.close()
        if self.loop.is_running():
            self.loop._run_forever_cleanup()
        if not self.loop.is_closed():
            self.step(calls=0)
            self.step(calls=0)
        self.loop.close()
        self.objects.clear()
        gc.collect()


def fuzz(seed: int) -> None:
    """Run the random program of a seed."""
    calls = Calls(seed)
    asyncio.set_event_loop(calls.loop)
    try:
        calls.loop.run_until_complete(calls.make())
        for _ in range(CALLS // 10):
            # Half of the calls within a run, half between runs.
            for _ in range(5):
                calls.call()
            if not calls.loop.is_closed():
                calls.step(calls=5)
    finally:
        calls.end()
        asyncio.set_event_loop(None)
