"""The page that says what a process's loops did: `--report`, `FERROLOOP_REPORT`.

- `record`: what the page shows, as plain data
- `text`: numbers, times and program text as HTML
- `style`, `timeline`, `page`: the page, made of that
- `frames`, `groups`: stacks, and stalls and slow callbacks by where they happened
- `sampling`: a loop's time line while it is recorded
- `follower`: one loop with its monitor
- `target`: the file
- `recorder`: one page, its loops, and when it is written
- `settings`, `start`: what the variables ask for, and doing it

None of it is imported by `import ferroloop`.
"""
