"""What `telemetry` tells the apps above it. Receivers are wired in `iot_hub/pipeline.py`."""

from django.dispatch import Signal

# After the commit of readings that some rule watches. No arguments: the rows are in `watched_batches`.
watched_readings_stored = Signal()
