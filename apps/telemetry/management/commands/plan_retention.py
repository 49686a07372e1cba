"""`manage.py plan_retention`: what is old enough to go, before anything goes."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.utils import timezone

from apps.telemetry.timescale import outlook
from apps.telemetry.timescale.edition import SetupError


class Command(BaseCommand):
    help = "Says what the next run of retention would drop, per table and device type. Drops nothing."

    def handle(self, **options):
        try:
            lines = outlook.lines(connection, settings.TELEMETRY, now=timezone.now())
        except SetupError as error:
            raise CommandError(str(error)) from error
        for line in lines:
            self.stdout.write(line)
        self.stdout.write("Nothing was dropped.")
