#!/usr/bin/env bash
# Dumps the hub's database into backups/, checks the dump, and clears away old ones. Fit for cron: it needs no terminal.
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
scripts/backup_db.sh [--compose]   dump the database of DATABASE_URL, or the private one, into BACKUP_DIR
--compose             the database of docker compose
BACKUP_DIR=backups    where dumps and backup.log lie
BACKUP_KEEP_DAYS=7    older dumps are deleted after a good one; 0 keeps them all
END
}

# Every line goes to the log, and to whoever looks on.
tell() {
  printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$LOG"
  say "$*"
}

fail() {
  printf '%s FAILED: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$LOG"
  printf 'Backup failed: %s\n' "$*" >&2
  exit 1
}

prepare_folder() {
  { mkdir -p "$BACKUP_DIR" && : >>"$LOG"; } 2>/dev/null || die "Can't write $BACKUP_DIR; set BACKUP_DIR to another folder."
  exec 9>>"$BACKUP_DIR/.lock"
  flock --nonblock 9 || fail "another backup into $BACKUP_DIR is running."
  # Whatever is left of a run that was killed; nobody else is at it, since we hold the lock.
  rm -f "$BACKUP_DIR"/*.part
}

last_line() { grep -v '^$' "$1" | tail -n 1; }

dump() { # file
  local errors=$1.errors.part
  # TimescaleDB's catalogue tables refer to each other, of which pg_dump warns at every dump; restore_db.sh handles it.
  if ! pg pg_dump --dbname="$(url_of "$DATABASE")" --format=custom --no-owner --no-privileges >"$1" 2>"$errors" 9>&-; then
    fail "pg_dump: $(last_line "$errors")"
  fi
}

# A dump that pg_restore can't list or read to its end, or that lacks the table of readings, is none.
verify() { # file
  local contents
  [ "$(stat -c %s "$1")" -ge 1000 ] || fail "the dump has only $(stat -c %s "$1") bytes."
  contents=$(pg pg_restore --list <"$1" 2>&1) || fail "the dump can't be read back: ${contents##*$'\n'}"
  contents=$contents$'\n'$(pg pg_restore --file=/dev/null <"$1" 2>&1) || fail "the dump can't be read to its end: ${contents##*$'\n'}"
  [[ $contents == *' TABLE public telemetry '* ]] || fail "the dump has no table telemetry; has $DATABASE been migrated?"
}

# What restore_db.sh has to know and pg_dump doesn't write down.
describe() { # part name
  printf 'timescaledb=%s\npostgres=%s\ndatabase=%s\n' "$TIMESCALE" "$SERVER_MAJOR" "$DATABASE"
  (cd "$BACKUP_DIR" && sha256sum <"$1" | sed 's/^\([0-9a-f]*\).*/sha256=\1/')
}

clean_up() {
  local old
  [ "$KEEP_DAYS" -gt 0 ] || return 0
  find "$BACKUP_DIR" -maxdepth 1 -type f -name 'iot_hub_*.dump' -mmin "+$((KEEP_DAYS * 1440))" -print | sort | while read -r old; do
    rm -f "$old" "$old.info"
    tell "Deleted $(basename "$old"), older than $KEEP_DAYS days."
  done
}

free_name() {
  local name
  while name=iot_hub_$(date -u +%Y%m%d_%H%M%S).dump && [ -e "$BACKUP_DIR/$name" ]; do sleep 1; done
  echo "$name"
}

backup() {
  local begin=$EPOCHREALTIME name part
  name=$(free_name)
  part=$BACKUP_DIR/$name.part
  dump "$part"
  verify "$part"
  describe "$name.part" >"$part.info.part"
  # On the disk before it gets its name, and the description first: a dump with its final name is complete.
  sync "$part" "$part.info.part"
  mv "$part.info.part" "$BACKUP_DIR/$name.info"
  mv "$part" "$BACKUP_DIR/$name"
  tell "Backed $DATABASE up to $BACKUP_DIR/$name ($(du -h "$BACKUP_DIR/$name" | cut -f 1), $(seconds_since "$begin"))."
}

case ${1:-} in
  '') ;;
  --compose) COMPOSE=yes ;;
  -h | --help) usage && exit ;;
  *) usage >&2 && exit 2 ;;
esac

cd "$ROOT"
BACKUP_DIR=$(own_setting BACKUP_DIR "$ROOT/backups")
KEEP_DAYS=$(own_setting BACKUP_KEEP_DAYS 7)
LOG=$BACKUP_DIR/backup.log
[[ $KEEP_DAYS =~ ^[0-9]+$ ]] || die "BACKUP_KEEP_DAYS must be a number of days, not \"$KEEP_DAYS\"."
prepare_folder
trap 'rm -f "$BACKUP_DIR"/*.part' EXIT
choose_database
reason=$( (require_server "$DATABASE") 2>&1) || fail "$reason"
require_server "$DATABASE"
TIMESCALE=$(timescale_version "$DATABASE") || fail "the version of TimescaleDB can't be read."
backup
clean_up
