"""MEASURED: readings, how they come in, where they are kept, how they are read."""
