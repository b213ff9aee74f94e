"""Loops used from several threads at once: allowed calls work, forbidden ones do not crash."""
