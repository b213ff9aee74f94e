"""What debug mode logs of slow callbacks."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator

from .loops import until

_LINE = re.compile(r"Executing (.*) took (-?\d+\.\d{3}) seconds", re.DOTALL)


class SlowLines(logging.Handler):
    """What is logged of slow callbacks."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self.seconds: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        match = _LINE.fullmatch(record.getMessage())
        if match is not None:
            assert record.levelno == logging.WARNING
            self.texts.append(match[1])
            self.seconds.append(float(match[2]))

    def about(self, part: str) -> list[str]:
        return [text for text in self.texts if part in text]

    def only(self, part: str) -> str:
        """What was executed, of the one line that has this part."""
        found = self.about(part)
        assert len(found) == 1, (part, found or self.texts)
        return found[0]

    async def wait(self, part: str) -> str:
        """As `only`, once there is such a line: it comes when what is slow is over."""
        await until(lambda: self.about(part))
        return self.only(part)


@contextlib.contextmanager
def slow_lines() -> Iterator[SlowLines]:
    """Remember what is logged meanwhile."""
    logger = logging.getLogger("asyncio")
    handler = SlowLines()
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
