from apps.devices.admin import catalog, device, keys  # noqa: F401 - importing registers
