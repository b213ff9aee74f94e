"""A throw-away process that runs CPython's asyncio tests one by one and reports each at once.

Started by `supervisor`; speaks JSON lines over the descriptor that it is given.  Whatever the tests
print goes to the ordinary output, which the supervisor keeps for the report of a crash.
Uses the standard library only: it runs under every interpreter that is tested.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import time
import unittest
from collections.abc import Iterator
from typing import TextIO

from . import swap

PACKAGE = "test.test_asyncio"


def each_test(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The test cases in a suite of suites."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from each_test(item)
        elif isinstance(item, unittest.TestCase):
            yield item


def short_id(test: unittest.TestCase) -> str:
    """`test_events.Class.method`, without the package."""
    return test.id().removeprefix(PACKAGE + ".")


def load(module: str) -> dict[str, unittest.TestCase]:
    """All tests of one module by their short names; empty when the module skips itself."""
    loader = unittest.TestLoader()
    suite = loader.loadTestsFromName(f"{PACKAGE}.{module}")
    prefix = f"{module}."
    return {short_id(test): test for test in each_test(suite) if short_id(test).startswith(prefix)}


def verdict(result: unittest.TestResult) -> tuple[str, str]:
    """The outcome of one test and the text that explains it."""
    for kind, entries in (("error", result.errors), ("failed", result.failures)):
        if entries:
            return kind, entries[0][1]
    if result.unexpectedSuccesses:
        return "failed", "unexpected success"
    if result.skipped:
        return "skipped", result.skipped[0][1]
    return "passed", ""


def run_one(test: unittest.TestCase) -> tuple[str, str]:
    """Run a test with its class's and its module's fixtures."""
    result = unittest.TestResult()
    unittest.TestSuite([test]).run(result)
    return verdict(result)


def run_all(module: str, wanted: list[str], count: swap.Count, out: TextIO) -> None:
    """Run the wanted tests in their order; one line before and one after each."""
    tests = load(module)
    for name in wanted:
        made = count.made
        print(json.dumps({"start": name}), file=out, flush=True)
        began = time.monotonic()
        outcome, detail = run_one(tests[name])
        line = {
            "end": name,
            "outcome": outcome,
            "detail": detail[-4000:],
            "loops": count.made - made,
            "seconds": round(time.monotonic() - began, 3),
        }
        print(json.dumps(line), file=out, flush=True)


def main() -> None:
    """`worker.py FD list MODULE`, or `worker.py FD run MODULE LOOP` with the names on stdin."""
    # SIGABRT, which the supervisor sends to a hung worker, dumps the Python stacks.
    options = {"c_stack": False} if sys.version_info >= (3, 14) else {}
    faulthandler.enable(**options)
    descriptor, command, module = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.set_inheritable(descriptor, False)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        if command == "list":
            print(json.dumps({"version": sys.version, "tests": list(load(module))}), file=out)
            return
        wanted = json.load(sys.stdin)
        run_all(module, wanted, swap.swap_in(sys.argv[4]), out)
        out.flush()
        # Threads or an interpreter that a test broke must not keep a finished worker.
        os._exit(0)
