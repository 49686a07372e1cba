#!/usr/bin/env bash
# Restores a dump of backup_db.sh. It goes into a new database first, which takes the target's place only when complete.
set -euo pipefail
umask 077

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
scripts/restore_db.sh FILE [--into DATABASE] [--force] [--compose]
--into DATABASE   another database on the same server than that of DATABASE_URL; made if it is not there
--force           replace a database that holds tables
--compose         the server of docker compose
END
}

info() { file_setting "$FILE.info" "$1" || true; }

check_file() {
  local sum
  [ -s "$FILE" ] || die "There is no dump $FILE."
  sum=$(info sha256)
  [ -z "$sum" ] || [ "$sum" = "$(sha256sum <"$FILE" | cut -d ' ' -f 1)" ] ||
    die "$FILE is damaged: its checksum is not the one in $(basename "$FILE").info. Nothing was restored."
  pg pg_restore --list <"$FILE" >/dev/null 2>&1 ||
    die "$FILE is not a dump that pg_restore $SERVER_MAJOR can read. Nothing was restored."
}

# The dump holds the extension's own tables, which must meet the very version that wrote them.
check_version() {
  local available
  VERSION=$(info timescaledb)
  [ "$(sql postgres "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'")" = 1 ] ||
    die "The server has no TimescaleDB. Nothing was restored."
  if [ -z "$VERSION" ]; then
    say "  $(basename "$FILE").info is missing: the dump is taken to be of this server's TimescaleDB version"
    VERSION=$(sql postgres "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'")
  fi
  available=$(sql postgres "SELECT string_agg(version, ', ' ORDER BY version) FROM pg_available_extension_versions WHERE name = 'timescaledb'")
  [[ ", $available, " == *", $VERSION, "* ]] ||
    die "The dump is of TimescaleDB $VERSION and the server has $available: restore it where $VERSION is installed, and update there (ALTER EXTENSION timescaledb UPDATE). Nothing was restored."
}

exists() { # database
  [ "$(sql postgres "SELECT count(*) FROM pg_database WHERE datname = :'name'" -v name="$1")" = 1 ]
}

tables_in() { # database
  sql "$1" "SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^(pg_|_timescaledb|timescaledb|toolkit)' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')"
}

check_target() {
  local tables
  REPLACES=no
  exists "$TARGET" || return 0
  REPLACES=yes
  tables=$(tables_in "$TARGET")
  [ "$tables" = 0 ] || [ "$FORCE" = yes ] ||
    die "$TARGET holds $tables tables. Add --force to replace it, or --into with another name. Nothing was restored."
}

drop() { # database
  sql postgres 'DROP DATABASE IF EXISTS :"name" WITH (FORCE)' -v name="$1"
}

# A run that was killed leaves its database behind. Ours to drop is what bears this mark and whose process is gone; once
# a database is complete, it loses the mark.
drop_leftovers() {
  local names name
  names=$(sql postgres "SELECT datname FROM pg_database
    WHERE datname ~ '_restoring_[0-9]+$' AND shobj_description(oid, 'pg_database') = :'mark'" -v mark="$MARK")
  while read -r name; do
    [ -n "$name" ] && [ ! -d "/proc/${name##*_}" ] || continue
    drop "$name"
    say "  dropped $name, left by a run that was killed"
  done <<<"$names"
}

mark() { # text
  sql postgres 'COMMENT ON DATABASE :"name" IS :'"'text'" -v name="$NEW" -v text="$1"
}

create() {
  sql postgres 'CREATE DATABASE :"name" TEMPLATE template0' -v name="$NEW" || die "The new database could not be made. Nothing was restored."
  trap 'drop "$NEW" || true' EXIT
  mark "$MARK"
  sql "$NEW" 'CREATE EXTENSION timescaledb VERSION :"version"' -v version="$VERSION"
  sql "$NEW" 'SELECT timescaledb_pre_restore()' >/dev/null
}

fill() {
  local errors
  errors=$(pg pg_restore --dbname="$(url_of "$NEW")" --no-owner --no-privileges --exit-on-error <"$FILE" 2>&1) ||
    die "pg_restore failed, and $TARGET is as it was: ${errors%%$'\n'*}"
  sql "$NEW" 'SELECT timescaledb_post_restore()' >/dev/null
  sql "$NEW" 'ANALYZE'
}

# Without connections a database can be renamed, and TimescaleDB's own workers are connections too.
take_place() {
  trap - EXIT
  mark ''
  sql postgres 'ALTER DATABASE :"name" ALLOW_CONNECTIONS false' -v name="$NEW"
  [ "$REPLACES" = no ] || drop "$TARGET" || die "$TARGET could not be replaced; the restored data is in $NEW, which is closed to connections."
  sql postgres "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = :'name'" -v name="$NEW" >/dev/null
  sql postgres 'ALTER DATABASE :"name" RENAME TO :"target"' -v name="$NEW" -v target="$TARGET"
  sql postgres 'ALTER DATABASE :"target" ALLOW_CONNECTIONS true' -v target="$TARGET"
}

report() { # begin
  local newest
  say "Restored $FILE into $TARGET: $(tables_in "$TARGET") tables and views, TimescaleDB $VERSION ($(seconds_since "$1"))."
  newest=$(sql postgres "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'")
  [ "$newest" = "$VERSION" ] || say "The server has TimescaleDB $newest; ALTER EXTENSION timescaledb UPDATE in $TARGET brings it there."
  say "A dump holds no roles and no rights: if you use them, run manage.py setup_db_roles."
}

restore() {
  local begin=$EPOCHREALTIME
  # TimescaleDB warns of workers that we end anyway.
  export PGOPTIONS='-c client_min_messages=error'
  choose_database
  TARGET=${INTO:-$DATABASE}
  NEW=${TARGET:0:40}_restoring_$$
  MARK="not complete, restore_db.sh on $(uname -n)"
  require_server postgres
  check_file
  check_version
  check_target
  drop_leftovers
  create
  fill
  take_place
  report "$begin"
}

FILE=
INTO=
FORCE=no
while [ $# -gt 0 ]; do
  case $1 in
    --into)
      [ -n "${2:-}" ] || { usage >&2 && exit 2; }
      INTO=$2
      shift
      ;;
    --force) FORCE=yes ;;
    --compose) COMPOSE=yes ;;
    -h | --help) usage && exit ;;
    -*) usage >&2 && exit 2 ;;
    *)
      [ -z "$FILE" ] || { usage >&2 && exit 2; }
      FILE=$1
      ;;
  esac
  shift
done
[ -n "$FILE" ] || { usage >&2 && exit 2; }
restore
