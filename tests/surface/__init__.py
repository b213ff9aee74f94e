"""Every call of asyncio's surface, made on asyncio's loop and on ferroloop and compared."""
