"""Looking into a running loop: `Monitor`, and what it finds.

- `reports`: what is handed to the program: stalls, slow callbacks, totals
- `stacks`: the stack of another thread, and which callback it runs
- `names`: what slow callbacks are called
- `contents`: what a loop has open: tasks, descriptors, threads, look-ups
- `watcher`: the one thread that watches the loops of all monitors
- `monitor`: `Monitor`
"""
