"""Pipes and child processes.

- `pipes`: `connect_read_pipe`, `connect_write_pipe`
- `popen`: starting a process as `subprocess.Popen` does
- `process`: the transport of a child process
- `subprocess`: `subprocess_exec`, `subprocess_shell`
"""
