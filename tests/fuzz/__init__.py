"""Random programs that must not break the interpreter: no panic, no crash, no hang.

- `evil`: values whose special methods do what no one expects
- `watch`: what counts as broken
- `actions`: random actions in every callback, of which `world` and `protocols` are what they act on
- `calls`: random calls on every native object
- `records`: a TLS peer that mutates records
- `interrupts`: Ctrl-C at random moments
- `child`: one fuzzer in a process of its own, with a deadline
"""
