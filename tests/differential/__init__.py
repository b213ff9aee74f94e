"""The same random program on asyncio and on another loop, and the traces compared."""
