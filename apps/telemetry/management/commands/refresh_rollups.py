"""`manage.py refresh_rollups`: hours and days computed anew from the readings."""

from datetime import UTC, datetime

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from apps.telemetry import services
from apps.telemetry.management.progress import Bar


def moment(text: str) -> datetime:
    """A time, or a date, which begins at midnight; in UTC unless it says otherwise."""
    found = parse_datetime(text)
    if found is None and (day := parse_date(text)):
        found = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - made aware below
    if found is None:
        raise ValueError(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


class Command(BaseCommand):
    help = (
        "Brings the rollups up to date. With --start, computes every hour and day from then on anew, such as after "
        "readings were changed by hand. Hours whose readings have been dropped stay as they are."
    )

    def add_arguments(self, parser):
        parser.add_argument("--start", type=moment, help="Such as 2026-11-01 or 2026-11-01T10:00:00+01:00.")
        parser.add_argument("--end", type=moment, help="Until before this time (now).")

    def handle(self, *, start: datetime | None, end: datetime | None, **options):
        now = timezone.now()
        bar = Bar(self.stdout, "refreshing")
        if start is None and end is not None:
            raise CommandError("--end goes with --start.")
        if start is not None and (end or now) <= start:
            raise CommandError("--end has to be after --start.")
        try:
            services.refresh_rollups(now=now, on_progress=bar)
            if start is not None:
                services.recompute_rollups(start=start, end=end or now, now=now, on_progress=bar)
        except OperationalError as error:  # such as a policy of the database at work on the same hours
            raise CommandError(f"The database refused: {str(error).splitlines()[0]}. Try again in a moment.") from error
        self.stdout.write(self.style.SUCCESS("The rollups are up to date."))
