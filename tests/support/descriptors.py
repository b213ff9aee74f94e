"""The process's open descriptors, to see that none is left behind."""

from __future__ import annotations

import array
import fcntl
import gc
import os
import termios

FOLDER = "/proc/self/fd"


def open_descriptors() -> dict[int, str]:
    """Number and target of each; without the one that reading the folder takes."""
    found: dict[int, str] = {}
    for name in os.listdir(FOLDER):
        try:
            found[int(name)] = os.readlink(f"{FOLDER}/{name}")
        except FileNotFoundError:
            continue
    return found


def new_since(before: dict[int, str]) -> dict[int, str]:
    """Those that are open now and were not then; the collector may first close what it can."""
    left = {number: to for number, to in open_descriptors().items() if before.get(number) != to}
    if left:
        gc.collect()
        left = {number: to for number, to in open_descriptors().items() if before.get(number) != to}
    return left


def arrived(descriptor: int) -> int:
    """How many bytes wait to be read."""
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]
