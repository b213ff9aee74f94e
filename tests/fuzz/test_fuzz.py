"""The fuzzers in a short form: the same programs each time, in a process of their own."""

from __future__ import annotations

import pytest

from . import child

#: How many programs, for a few seconds each.
PROGRAMS = {"actions": 20, "calls": 15, "records": 6, "interrupts": 10}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_random_program_breaks_the_interpreter(name: str) -> None:
    outcome = child.run(name, 0, PROGRAMS[name], child.DEADLINE)
    assert not outcome.fault, outcome.fault
    assert outcome.programs == PROGRAMS[name]
