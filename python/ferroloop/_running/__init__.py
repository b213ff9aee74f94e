"""How a program gets a loop and runs on it.

- `policy`: `install` and the event loop policy
- `runner`: `run`
"""
