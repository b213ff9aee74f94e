"""CPython's own asyncio tests, taken from the running interpreter, with another loop put in."""
