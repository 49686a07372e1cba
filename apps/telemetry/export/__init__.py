"""Readings out in bulk: streamed from the database by COPY, in constant memory, whatever their number."""
