"""What `ferroloop.prometheus` and `ferroloop.opentelemetry` have in common.

- `loops`: the loops whose figures are asked for
- `figures`: the figures, with their names

Imported by these two only.
"""
