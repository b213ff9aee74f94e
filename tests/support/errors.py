"""What a loop reports to its exception handler, collected."""

from __future__ import annotations

import asyncio
from typing import Any


class Reports(list[dict[str, Any]]):
    """The contexts that reached the exception handler; a test takes those that it expects."""

    def handle(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.append(context)

    def take(self) -> dict[str, Any]:
        """The only one, which is then no longer unexpected."""
        assert len(self) == 1, self
        return self.pop()
