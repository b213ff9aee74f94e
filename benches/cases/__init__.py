"""Every row of the comparison, in the order of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cases import echo, http, memory, operations, scheduling, sockets, tasks, threads, timers, tls

if TYPE_CHECKING:
    from harness.case import Case

ALL: tuple[Case, ...] = (
    *scheduling.CASES,
    *timers.CASES,
    *tasks.CASES,
    *operations.CASES,
    *sockets.CASES,
    *tls.CASES,
    *echo.CASES,
    *http.CASES,
    *memory.CASES,
    *threads.CASES,
)
BY_NAME: dict[str, Case] = {case.name: case for case in ALL}
