"""A kernel or a sandbox without a system call that the loop prefers: it takes the older one."""

from __future__ import annotations

import errno
import sys

import pytest

from support.programs import run_code

# A filter of seccomp(2) that answers one call, by its number, with an errno and lets all others pass.
REFUSING = """
import ctypes, struct

def refuse(number, answer):
    def step(code, value, jumps=(0, 0)):
        return struct.pack("HBBI", code, *jumps, value)

    program = step(0x20, 0) + step(0x15, number, (0, 1))
    program += step(0x06, 0x00050000 | answer) + step(0x06, 0x7FFF0000)
    kept = ctypes.create_string_buffer(program)

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]

    whole = Program(len(program) // 8, ctypes.cast(kept, ctypes.c_void_p))
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    if libc.prctl(22, 2, ctypes.byref(whole), 0, 0) != 0:
        print("no filters")
        raise SystemExit
"""

EPOLL_PWAIT2 = 441  # on every architecture


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")
@pytest.mark.parametrize("answer", [errno.ENOSYS, errno.EPERM], ids=errno.errorcode.get)
def test_a_loop_waits_without_epoll_pwait2(answer: int) -> None:
    source = f"""
    {REFUSING.replace(chr(10), chr(10) + "    ")}
    refuse({EPOLL_PWAIT2}, {answer})
    loop = new_loop()
    began = loop.time()
    loop.run_until_complete(asyncio.sleep(0.02))
    print(loop.time() - began >= 0.02)
    loop.close()
    """
    status, out, error = run_code("ferroloop", source)
    if out == "no filters\n":
        pytest.skip("the machine's own sandbox takes no further filter")
    assert (status, out, error) == (0, "True\n", "")
