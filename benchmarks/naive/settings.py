"""The hub's settings, with the naive view in the place of everything else."""

from iot_hub.settings import *  # noqa: F403 - that is what it is for

ROOT_URLCONF = "naive.urls"
# Which tells the length of an answer.
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
