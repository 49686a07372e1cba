"""What `events` tells the apps above it. Receivers are wired in `iot_hub/pipeline.py`."""

from django.dispatch import Signal

# After the commit of new events. No arguments: they are the events without `dispatched_at`.
events_opened = Signal()
