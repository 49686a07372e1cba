"""`manage.py rules`: the rules as a YAML document, compared, applied, exported, tested and rolled back."""

import getpass
import sys
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.notifications.queries import TemplateNames
from apps.rules.code import diff, documents, export, fixtures, planning, replay, services
from apps.rules.code.yaml_lines import DocumentError
from apps.rules.models import RuleVersion
from apps.users.models import User

DIFFERENT = 2


class Command(BaseCommand):
    help = (
        "Rules as code. plan shows what apply would do and exits 2 if that is something; test needs no database and "
        "exits 1 if a rule does otherwise than expected."
    )

    def add_arguments(self, parser: CommandParser):
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="plan|apply|export|test|history|rollback")
        for verb, text in (("plan", "Show the difference."), ("apply", "Make the rules those of the file.")):
            one = verbs.add_parser(verb, help=text)
            one.add_argument("file", help="A YAML document, or - for standard input.")
            one.add_argument("--prune", action="store_true", help="Delete rules as code that the file has not.")
        exporting = verbs.add_parser("export", help="Write the rules that are there.")
        exporting.add_argument("file", nargs="?", default="-", help="Where to; standard output unless given.")
        exporting.add_argument("--owner", help="Rules of this user only.")
        verbs.add_parser("test", help="Run the tests of the file.").add_argument("file")
        verbs.add_parser("history", help="List the versions that were applied.")
        back = verbs.add_parser("rollback", help="Apply an earlier version again, and delete what came later.")
        back.add_argument("version", nargs="?", type=int, help="The one before the latest unless given.")
        for name in ("apply", "rollback"):
            verbs.choices[name].add_argument("--by", default=_who(), help="Who is noted in the history.")

    def handle(self, *, verb: str, **options):
        self.name = options.get("file") or ""
        try:
            getattr(self, f"_{verb}")(options)
        except DocumentError as error:
            places = [f"{self.name}:{one.line}" if one.line else self.name for one in error.problems]
            told = [f"{place}: {one.message}" for place, one in zip(places, error.problems, strict=True)]
            raise CommandError("\n".join(told)) from error
        except services.NoSuchVersion as error:
            raise CommandError(str(error)) from error

    def _plan(self, options):
        document = documents.parse(self._read())
        made = planning.plan(document, templates=TemplateNames(), prune=options["prune"])
        self._show(made)
        if made.steps:
            sys.exit(DIFFERENT)

    def _apply(self, options):
        self._carry_out(self._read(), prune=options["prune"], by=options["by"])

    def _rollback(self, options):
        number = options["version"]
        version = services.version_before() if number is None else services.version(number)
        self.name = f"version {version.number}"
        self._carry_out(version.document, prune=True, by=options["by"], note=f"back to version {version.number}")

    def _carry_out(self, text: str, *, prune: bool, by: str, note: str = "") -> None:
        made = services.apply(
            text=text,
            templates=TemplateNames(),
            prune=prune,
            applied_by=by,
            now=timezone.now(),
            on_plan=self._show,
            note=note,
        )
        self.stdout.write(f"Applied as version {made.number}." if made else "Nothing was changed.")

    def _export(self, options):
        owner = None
        if options["owner"]:
            owner = User.objects.filter(username=options["owner"]).first()
            if owner is None:
                raise CommandError(f"There is no user {options['owner']!r}.")
        text = export.export(owner=owner, templates=TemplateNames())
        if self.name == "-":
            self.stdout.write(text, ending="")
            return
        try:
            Path(self.name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{self.name} can't be written: {error.strerror}.") from error

    def _test(self, options):
        folder = Path() if self.name == "-" else Path(self.name).parent
        found = fixtures.read(documents.parse(self._read()), folder=folder)
        results = [replay.run(fixture) for fixture in found]
        for result in results:
            self.stdout.write(f"{'ok    ' if result.passed else 'FAILED'} {result.fixture.name}")
            for line in result.diff():
                self.stdout.write(f"    {line}")
        failed = sum(not result.passed for result in results)
        if failed:
            raise CommandError(f"{failed} of {len(results)} tests failed (- expected, + happened).")
        self.stdout.write(f"{len(results)} tests passed.")

    def _history(self, options):
        for version in RuleVersion.objects.order_by("-number"):
            owners = ", ".join(name or "everybody" for name in version.owners)
            note = f", {version.note}" if version.note else ""
            at = version.applied_at.strftime("%Y-%m-%d %H:%M:%S UTC")
            parts = [str(version.number), at, version.applied_by, version.digest[:12], owners + note]
            self.stdout.write("  ".join(parts))

    def _show(self, made: planning.Plan) -> None:
        for line in diff.lines_of(made):
            self.stdout.write(line)

    def _read(self) -> str:
        try:
            return sys.stdin.read() if self.name == "-" else Path(self.name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{self.name} can't be read: {error}.") from error


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return ""
