"""What `python -m ferroloop` does to a process so that a program runs on ferroloop unchanged.

- `imports`: functions that run after a named module was imported
- `other_loops`: loops of other packages, and the line that says that one of them runs
- `uvicorn_auto`, `servers`: servers that choose a loop by themselves
- `children`: processes that multiprocessing starts with a new interpreter
- `restarts`: programs that start themselves again
- `takeover`: installs all of these, in the right order

None of it is imported by `import ferroloop`.
"""
