#!/usr/bin/env bash
# Writes docs/db/schema.sql: what the migrations make in an empty database, and what setup_timescaledb does after them.
set -euo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=scripts/lib/paths.sh
. "$here/lib/paths.sh"
# shellcheck source=scripts/lib/packages.sh
. "$here/lib/packages.sh"
# shellcheck source=scripts/lib/instance.sh
. "$here/lib/instance.sh"
# shellcheck source=scripts/lib/database.sh
. "$here/lib/database.sh"

usage() {
  cat <<END
scripts/export_schema.sh [FILE]   write the schema to FILE (docs/db/schema.sql; - prints it)
It needs a server (DATABASE_URL, or scripts/services start), on which it makes a database for a moment.
END
}

drop() { sql postgres 'SET client_min_messages = error; DROP DATABASE IF EXISTS :"name" WITH (FORCE)' -v name="$EMPTY"; }

# What differs between two exports of one schema goes: versions, a random token, the session's settings.
tidy() {
  grep -Ev '^(-- Dumped (from|by)|-- PostgreSQL database dump|\\(un)?restrict |SET |SELECT pg_catalog|--$)' |
    sed 's/; Owner: -$//; s/; Tablespace: -$//' | cat -s
}

# Both editions' steps, whatever the server's edition is; the settings are those of a fresh checkout.
timescale_plan() {
  env -u TELEMETRY_CHUNK_INTERVAL -u TELEMETRY_COMPRESS_AFTER -u TELEMETRY_RETENTION -u TELEMETRY_HOURLY_RETENTION \
    -u TELEMETRY_DAILY_RETENTION DATABASE_URL="$(url_of "$EMPTY")" python - <<'PYTHON'
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "iot_hub.settings"
import django
django.setup()
from django.conf import settings
from django.db import connection
from apps.telemetry.timescale.edition import Edition
from apps.telemetry.timescale.lifecycle import read_lifecycle
from apps.telemetry.timescale.plan import build_plan

lifecycle = read_lifecycle(connection, settings.TELEMETRY)
community, apache = (build_plan(edition, lifecycle) for edition in (Edition.COMMUNITY, Edition.APACHE))
for step in community:
    print(f"\n-- {step.title}{'' if step in apache else ' (Community edition)'}\n{step.clean_sql}")
for step in apache:
    if step not in community:
        print(f"\n-- {step.title} (Apache-2 edition)\n{step.clean_sql}")
PYTHON
}

export_schema() {
  echo '-- The schema of IoT Hub, written by scripts/export_schema.sh. First what the migrations make.'
  pg pg_dump --dbname="$(url_of "$EMPTY")" --schema-only --no-owner --no-privileges --no-comments | tidy
  echo '-- Then what manage.py setup_timescaledb does, with the settings as they come.'
  timescale_plan
}

write() { # file
  EMPTY=iot_hub_schema_$$
  choose_database
  require_server postgres
  trap drop EXIT
  drop
  sql postgres 'CREATE DATABASE :"name" TEMPLATE template0' -v name="$EMPTY"
  DATABASE_URL=$(url_of "$EMPTY") python manage.py migrate --verbosity 0
  if [ "$1" = - ]; then
    export_schema
  else
    export_schema >"$1.new"
    mv "$1.new" "$1"
    say "Wrote $1 ($(wc -l <"$1") lines)."
  fi
}

case ${1:-} in -h | --help) usage && exit ;; esac
cd "$ROOT"
export SECRET_KEY=${SECRET_KEY:-only-for-the-schema-and-long-enough-to-sign-with}
[ ! -d .venv/bin ] || PATH=$ROOT/.venv/bin:$PATH
write "${1:-docs/db/schema.sql}"
