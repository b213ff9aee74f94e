"""Values whose special methods run a callback of the fuzzer, lie, or raise."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from typing import Any

#: What a special method of an evil object does.
Trick = Callable[[], None]


class Evil:
    """An object that answers every question badly."""

    def __init__(self, choices: random.Random, trick: Trick) -> None:
        """Take what decides, and what to do when Python asks for something."""
        self._choices = choices
        self._trick = trick

    def _answer(self, *answers: Any) -> Any:
        self._trick()
        if self._choices.random() < 0.3:
            raise self._choices.choice([ValueError, OSError, KeyError, LookupError])("evil")
        return self._choices.choice(answers)

    def __buffer__(self, flags: int) -> Any:
        return self._answer(
            memoryview(b"evil"),
            memoryview(bytearray(70000)),
            memoryview(b""),
            memoryview(bytearray(8)).cast("I"),
            memoryview(bytes(12))[::3],
            None,
        )

    def __release_buffer__(self, view: memoryview) -> None:
        self._answer(None)

    def __bytes__(self) -> Any:
        return self._answer(b"evil", b"", 3)

    def __eq__(self, other: object) -> Any:
        return self._answer(True, False, NotImplemented, None)

    def __hash__(self) -> Any:
        return self._answer(1, hash("evil"), -(10**30))

    def __repr__(self) -> Any:
        return self._answer("<evil>", "\udcff", "\0", "", None)

    def __bool__(self) -> Any:
        return self._answer(True, False, 2)

    def __len__(self) -> Any:
        return self._answer(0, 3, 2**40, -1)

    def __index__(self) -> Any:
        return self._answer(0, 1, -1, 2**31, 2**64, "one")

    def __float__(self) -> Any:
        return self._answer(0.0, float("nan"), float("inf"), -1.0, 1e300, "one")

    def __fspath__(self) -> Any:
        return self._answer("/nowhere/at all", b"\0", 4)

    def fileno(self) -> Any:
        """As a file's, or not."""
        return self._answer(-1, 10**6, 2**70, None, "3")

    def __call__(self, *_arguments: object, **_keywords: object) -> Any:
        return self._answer(None, self, 1)

    def __await__(self) -> Any:
        return self._answer(iter(()), iter([None, 1]), None, self)

    def __iter__(self) -> Any:
        return self._answer(iter([b"a", self]), iter(()), None)

    def __getitem__(self, key: object) -> Any:
        return self._answer(self, b"x", 1)

    def __lt__(self, other: object) -> Any:
        return self._answer(True, False, NotImplemented)

    def __enter__(self) -> Any:
        return self._answer(self, None)

    def __exit__(self, *_: object) -> None:
        self._answer(None, True)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):
            self._trick()


class EvilBytes(bytes):
    """Bytes that lie about their length and content."""

    def __len__(self) -> int:
        return 10**9

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(b"other")

    def __iter__(self) -> Any:
        raise OSError("evil")


class EvilInt(int):
    """A number that is more than it is."""

    def __index__(self) -> int:
        return 2**80

    def __float__(self) -> float:
        return float("nan")


class EvilText(str):
    """A text that equals everything and has no hash."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        raise TypeError("evil")


def values(choices: random.Random, trick: Trick) -> list[Callable[[], Any]]:
    """Makers of values of every kind."""
    shared = bytearray(b"shared" * 100)
    return [
        lambda: Evil(choices, trick),
        lambda: Evil(choices, trick),
        lambda: None,
        lambda: choices.choice([True, False]),
        lambda: choices.choice([0, 1, -1, 3, 100, 65536, -(2**31), 2**31, 2**63, 2**64, 10**40]),
        lambda: EvilInt(choices.randrange(5)),
        lambda: choices.choice([0.0, -0.0, 0.5, -1.0, 1e-300, 1e300]),
        lambda: choices.choice([float("nan"), float("inf"), float("-inf")]),
        lambda: bytes(choices.choice([0, 1, 5, 100, 70000])),
        lambda: EvilBytes(b"evil"),
        lambda: bytearray(choices.choice([0, 1, 300, 200000])),
        lambda: shared,
        lambda: memoryview(shared)[choices.randrange(9) :: choices.choice([1, 2, -1])],
        lambda: memoryview(bytearray(24)).cast("B", (2, 3, 4)),
        lambda: choices.choice(["", "text", "\0", "\udc80", "127.0.0.1", "::1%lo", "a" * 5000]),
        lambda: EvilText("host"),
        list,
        lambda: [b"one", bytearray(b"two"), memoryview(b"three"), Evil(choices, trick)],
        lambda: (b"x", "y", None),
        lambda: ("127.0.0.1", choices.choice([0, 1, 65535, 65536, -1, "http"])),
        lambda: ("::1", 0, 0, choices.choice([0, 2**32, -1])),
        lambda: {"exception": Evil(choices, trick), "message": 1},
        dict,
        set,
        object,
        lambda: iter([b"a", b"b"]),
        lambda: id,
        lambda: int,
        lambda: type,
        lambda: lambda *_a, **_k: trick(),
        lambda: ValueError("evil"),
        lambda: ValueError,
    ]
