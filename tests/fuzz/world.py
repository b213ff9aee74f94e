"""What random actions act on: a loop, and everything that the actions have made so far."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import time
from collections.abc import Callable
from typing import Any

from . import watch
from .evil import values

#: How many actions a program may take, and how long it may run.
ACTIONS = 400
SECONDS = 0.4


class World:
    """One random program."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        """Take the loop, and the seed that decides everything."""
        self.loop = loop
        self.choices = random.Random(seed)
        self.makers = values(self.choices, self.trick)
        self.handles: list[Any] = []
        self.tasks: list[asyncio.Future[Any]] = []
        self.transports: list[Any] = []
        self.sockets: list[socket.socket] = []
        self.servers: list[Any] = []
        self.streams: list[Any] = []
        self.left = ACTIONS
        self.depth = 0
        self.table: list[Callable[[World], None]] = []

    def value(self) -> Any:
        """A random value."""
        return self.choices.choice(self.makers)()

    def data(self) -> Any:
        """A value that is more often than not data."""
        if self.choices.random() < 0.5:
            return self.choices.randbytes(self.choices.choice([1, 10, 1000, 70000, 300000]))
        return self.value()

    def choice_of(self, *makers: Callable[[], Any]) -> Any:
        """What a random one of them makes."""
        return self.choices.choice(makers)()

    def pick(self, things: list[Any]) -> Any:
        """A random one of what there is."""
        if not things:
            raise LookupError("there is none")
        return self.choices.choice(things)

    def pick_with(self, method: str) -> Any:
        """A random transport that has a method."""
        return self.pick([one for one in self.transports if hasattr(one, method)])

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """Two connected sockets; the second is watched over by the world."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self.sockets.append(theirs)
        return ours, theirs

    def act(self) -> None:
        """Take a random action, unless too much has been done."""
        if self.left <= 0 or self.depth > 8:
            return
        self.left -= 1
        self.depth += 1
        try:
            self.choices.choice(self.table)(self)
        except (KeyboardInterrupt, SystemExit):
            pass
        except BaseException as error:
            watch.check(error)
        finally:
            self.depth -= 1

    def trick(self) -> None:
        """What evil objects do when they are asked for something."""
        if self.choices.random() < 0.4:
            self.act()

    def callback(self, *_arguments: object, **_keywords: object) -> None:
        """What everything calls that can be given a callback."""
        for _ in range(self.choices.choice([0, 1, 1, 2, 3])):
            self.act()
        if self.choices.random() < 0.1:
            raise self.choices.choice(
                [ValueError("from a callback"), OSError(9, "from a callback")]
            )

    async def coroutine(self) -> None:
        """What tasks run."""
        for _ in range(self.choices.randrange(4)):
            self.act()
            await asyncio.sleep(self.choices.choice([0, 0, 0.001]))

    def run(self) -> None:
        """Run the program; the loop is closed afterwards."""
        loop = self.loop
        loop.set_exception_handler(watch.on_report)
        end = time.monotonic() + SECONDS
        for _ in range(20):
            loop.call_soon(self.act)
        while self.left > 0 and time.monotonic() < end and not loop.is_closed():
            try:
                loop.call_later(0.01, loop.stop)
                loop.call_soon(self.act)
                loop.run_forever()
            except BaseException as error:
                watch.check(error)
        self.left = 0
        self.end()

    def end(self) -> None:
        """Close everything, in a random order."""
        steps: list[Callable[[], object]] = [
            self._end_transports,
            self._end_tasks,
            self._end_sockets,
            gc.collect,
        ]
        self.choices.shuffle(steps)
        for step in steps:
            step()
            self._turn()
        if not self.loop.is_closed():
            try:
                self.loop.run_until_complete(self.loop.shutdown_asyncgens())
                self.loop.run_until_complete(self.loop.shutdown_default_executor())
            except Exception as error:
                watch.check(error)
        self.loop.close()
        for group in self.handles, self.tasks, self.transports, self.servers, self.streams:
            group.clear()
        gc.collect()

    def _turn(self) -> None:
        if not self.loop.is_closed():
            try:
                self.loop.call_soon(self.loop.stop)
                self.loop.run_forever()
            except BaseException as error:
                watch.check(error)

    def _end_transports(self) -> None:
        for thing in self.transports + self.servers:
            try:
                getattr(thing, "abort", thing.close)()
            except Exception as error:
                watch.check(error)

    def _end_tasks(self) -> None:
        for task in self.tasks:
            try:
                task.cancel()
            except Exception as error:
                watch.check(error)

    def _end_sockets(self) -> None:
        for sock in self.sockets:
            try:
                self.loop.remove_reader(sock)
                self.loop.remove_writer(sock)
            except Exception as error:
                watch.check(error)
            sock.close()
