"""The fuzzers in a short form: the same programs each time, in a process of their own."""

from __future__ import annotations

import pytest

from . import child

#: How many programs, for a few seconds each on a machine that is not busy.
PROGRAMS = {"actions": 20, "calls": 15, "records": 6, "interrupts": 5}
#: Seconds after which a fuzzer begins no further program: more than the slowest machine needs.
LIMIT = 400


@pytest.mark.slow
@pytest.mark.timeout(LIMIT + 3 * child.DEADLINE)
@pytest.mark.parametrize("name", PROGRAMS)
def test_no_random_program_breaks_the_interpreter(name: str) -> None:
    outcome = child.run(name, 0, PROGRAMS[name], LIMIT)
    assert not outcome.fault, outcome.fault
    assert outcome.programs == PROGRAMS[name]
