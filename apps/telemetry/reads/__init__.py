"""Stored readings as they are: pages of readings, and messages put together from them."""
