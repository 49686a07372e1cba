"""Readings of many series as a matrix, for those who learn from them: series by time, numbers only."""
