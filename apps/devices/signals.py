"""What `devices` tells the apps above it. Receivers are wired in `iot_hub/pipeline.py`."""

from django.dispatch import Signal

# In the transaction that bound metrics to a device. Arguments: device_metric_ids (list of int).
metrics_bound = Signal()

# In the transaction that deletes a device, before its rows go. Arguments: device_metric_ids (list of int).
device_deleting = Signal()

# After the commit in which a device changed its type or owner. Arguments: device_ids (list of UUID).
devices_reassigned = Signal()

# In the transaction in which commands were delivered, finished or expired. Arguments: commands (list of DeviceCommand).
commands_changed = Signal()
