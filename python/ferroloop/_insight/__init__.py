"""Observing a running loop: debug mode's slow callbacks, `metrics()`, and `Monitor`.

- `slow`: the log of slow callbacks in debug mode
- `metrics`: `loop.metrics()`
- `reports`: what a monitor reports to the program: stalls, slow callbacks, totals
- `intervals`: the thresholds and intervals that a program gives a monitor
- `stacks`: the stack of another thread, and which callback it runs
- `names`: the names of slow callbacks
- `contents`: what a loop has open: tasks, descriptors, threads, look-ups
- `watcher`: the one thread that reports for all monitors what their loops do
- `monitor`: `Monitor`
"""
