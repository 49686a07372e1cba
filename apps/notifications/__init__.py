"""TOLD: templates, deliveries and the channels that carry them."""
