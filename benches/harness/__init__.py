"""Runs one case on one loop in one fresh process, and makes a table of many such runs.

`loops` knows the loops, `case` the kinds of case, `child` runs inside the fresh process; `server`, `load`
and `measure` are the parent's side; `results` has the targets, the table and the record.
"""
