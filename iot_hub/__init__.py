"""The composition root: settings, URLs, processes and the hand-overs between apps. No app imports it."""

from .celery import app as celery_app

__all__ = ["celery_app"]
