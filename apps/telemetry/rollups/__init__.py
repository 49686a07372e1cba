"""Readings by hour and by day, kept up to date.

`log` writes down which hours a transaction changed, `refresh` recomputes them. That is the way of the edition that
has no continuous aggregates (docs/decisions/0007-rollups.md); the other is asked to refresh its own.
"""
