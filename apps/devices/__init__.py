"""WHAT: device types, devices, locations, metrics, their bindings, keys and commands."""
