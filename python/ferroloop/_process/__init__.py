"""Pipes and child processes.

- `pipes`: `connect_read_pipe`, `connect_write_pipe`
- `process`: the transport of a child process
- `subprocess`: `subprocess_exec`, `subprocess_shell`
"""
