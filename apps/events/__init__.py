"""REMEMBERED: what happened, who has seen it, when it ended."""
