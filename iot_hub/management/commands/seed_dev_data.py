"""`manage.py seed_dev_data`: demo accounts, devices, a week of readings, rules and what they found."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from iot_hub.demo import people, seeding


class Command(BaseCommand):
    help = "Writes demo data: three accounts, their devices, a week of readings, rules and events."

    def add_arguments(self, parser):
        parser.add_argument("--force", action="store_true", help="Replace the demo data that is there.")
        parser.add_argument("--dry-run", action="store_true", help="Say what would be done and change nothing.")
        parser.add_argument("--if-empty", action="store_true", help="Do nothing if demo data is there already.")
        parser.add_argument("--remove", action="store_true", help="Take the demo data away, accounts and all.")

    def handle(self, *, force: bool, dry_run: bool, if_empty: bool, remove: bool, **options):
        self.may_draw = options["verbosity"] > 0 and self.stdout.isatty()
        if remove:
            self._say("remove", seeding.remove(dry_run=dry_run), dry_run)
            return
        if not settings.ENABLE_SEED_DATA:
            raise CommandError(
                "Demo data is switched off (ENABLE_SEED_DATA=false): its passwords are public. "
                "Switch it on only where nobody else can reach the hub."
            )
        try:
            self._seed(force, dry_run)
        except seeding.AlreadySeeded as error:
            if not if_empty:
                raise CommandError(str(error)) from error
            self.stdout.write("Demo data is there already.")
        except seeding.DemoError as error:
            raise CommandError(f"{error} Nothing was written.") from error

    def _seed(self, force: bool, dry_run: bool) -> None:
        removed, created = seeding.seed(now=timezone.now(), force=force, dry_run=dry_run, on_progress=self._draw)
        if any(removed.values()):
            self._say("remove", removed, dry_run)
        self._say("create", created, dry_run)
        if not dry_run:
            accounts = ", ".join(f"{person.username} / {person.password}" for person in people.PEOPLE)
            self.stdout.write(f"Log in as {accounts}.")

    def _say(self, verb: str, counts: dict[str, int], dry_run: bool) -> None:
        what = ", ".join(f"{number:,} {kind}" for kind, number in counts.items())
        self.stdout.write(f"Would {verb} {what}." if dry_run else f"{verb.capitalize()}d {what}.")

    def _draw(self, what: str, done: int, total: int) -> None:
        """A bar on a terminal, nothing elsewhere."""
        if self.may_draw:
            width = 30 * done // total
            bar = f"\r  {what:<9} [{'#' * width:<30}] {done}/{total}"
            self.stdout.write(bar, ending="\n" if done == total else "")
            self.stdout.flush()
