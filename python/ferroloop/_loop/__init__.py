"""The loop class, and the parts without sockets: running, errors, executors, signals.

- `base`: the loop's base classes and the fields of its Python side
- `loop`: `Loop`, a table of contents
- `lifecycle`: closing, debug mode
- `errors`: exception handlers and reports
- `selector`: `loop._selector`, through which programs take over how a loop waits
- `executor`, `jobs`, `asyncgens`, `signals`, `tasks`, `fork`: topics
- `subclasses`: what the classes that programs derive from the loop's need
- `later`: stands for modules that are imported at their first use
- `environment`: what a new loop takes from its process
"""
