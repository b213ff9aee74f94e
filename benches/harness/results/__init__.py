"""The record of a run, its table, and the targets that it must reach."""
