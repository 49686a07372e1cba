"""Readings by buckets of time: where buckets begin, where their data comes from, SQL, gaps (decision 8)."""
