# shellcheck shell=bash
# The private PostgreSQL with TimescaleDB.

PGDATA_DIR=$INSTANCE_DIR/postgres
POSTGRES_LOG=$INSTANCE_DIR/log/postgres.log

postgres_bin() { echo "$(package_set_dir services)"/usr/lib/postgresql/*/bin; }

postgres_tool() { # tool arguments
  as_service env -C / PGHOST="$RUN_DIR" PGUSER=iot_hub "$(postgres_bin)/$1" "${@:2}"
}

quiet_psql() { # database sql
  postgres_tool psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$1" -c "$2"
}

postgres_running() { postgres_tool pg_ctl status -D "$PGDATA_DIR" >/dev/null 2>&1; }

postgres_ready() { postgres_tool pg_isready -q -t 2; }

# Written in a folder beside the final one: a cluster that was interrupted half-way never looks like a good one.
create_cluster() {
  [ ! -s "$PGDATA_DIR/PG_VERSION" ] || return 0
  local new=$PGDATA_DIR.new
  rm -rf "$new" "$PGDATA_DIR"
  make_private_folder "$new"
  postgres_tool initdb -D "$new" --username=iot_hub --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-instructions \
    "$(durable && echo --data-checksums || echo --no-sync)" >"$INSTANCE_DIR/log/initdb.log" 2>&1 ||
    die_without "PostgreSQL could not create its data folder (see $INSTANCE_DIR/log/initdb.log)."
  echo "include_if_exists = 'iot_hub.conf'" >>"$new/postgresql.conf"
  mv "$new" "$PGDATA_DIR"
}

require_same_major() {
  local data program
  data=$(cat "$PGDATA_DIR/PG_VERSION")
  program=$(postgres_tool postgres -V | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
  [ "$data" = "$program" ] ||
    die "The data in $PGDATA_DIR is PostgreSQL $data's and the programs are version $program: dump it with version $data, or drop it with scripts/services wipe."
}

# Written anew at every start, so that a change here reaches existing instances; a person's own settings belong in
# postgresql.conf, of which this is the last word only for what the hub relies on.
write_postgres_config() {
  local memory buffers
  memory=$(memory_mb)
  buffers=$((memory / 4 < 1024 ? memory / 4 : 1024))
  [ "$INSTANCE" != test ] || buffers=$((buffers < 256 ? buffers : 256))
  cat >"$PGDATA_DIR/iot_hub.conf" <<EOF
listen_addresses = ''
unix_socket_directories = '${RUN_DIR//\'/\'\'}'
unix_socket_permissions = 0700
max_connections = 100
shared_preload_libraries = 'timescaledb,pg_stat_statements'
timescaledb.telemetry_level = off
max_worker_processes = 20
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %d '
log_min_duration_statement = 1000
shared_buffers = ${buffers}MB
effective_cache_size = $((memory / 2))MB
maintenance_work_mem = $((memory / 16 < 256 ? memory / 16 : 256))MB
work_mem = 16MB
random_page_cost = 1.1
jit = off
max_wal_size = 4GB
checkpoint_timeout = 15min
wal_compression = $(postgres_tool pg_config --configure | grep -q with-lz4 && echo lz4 || echo on)
$(durable || printf '%s = off\n' fsync synchronous_commit full_page_writes)
EOF
}

# After a kill -9 or a reboot the file with the process number is still there. PostgreSQL deals with that itself unless
# the number has been given to another program meanwhile; and until the last orphan is gone it rightly refuses.
clear_stale_postmaster() {
  local file=$PGDATA_DIR/postmaster.pid pid
  [ -s "$file" ] || return 0
  pid=$(head -n 1 "$file")
  [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" != "$PGDATA_DIR" ] || return 0
  wait_for_orphans
  rm -f "$file" "$RUN_DIR"/.s.PGSQL.5432 "$RUN_DIR"/.s.PGSQL.5432.lock
}

orphans() {
  local dir
  for dir in /proc/[0-9]*; do
    [ "$(readlink "$dir/cwd" 2>/dev/null)" != "$PGDATA_DIR" ] || echo "${dir#/proc/}"
  done
}

wait_for_orphans() {
  local tries pids
  for tries in {1..50}; do
    mapfile -t pids < <(orphans)
    [ "${#pids[@]}" -gt 0 ] || return 0
    # Still at a statement after five seconds: told to end at once, as their postmaster would have told them.
    [ "$tries" -ne 25 ] || kill -QUIT "${pids[@]}" 2>/dev/null || true
    sleep 0.2
  done
  die "Processes of a killed PostgreSQL still use $PGDATA_DIR: ${pids[*]}."
}

# PostgreSQL's own zone files are the system's.
require_time_zones() {
  [ -e /usr/share/zoneinfo/UTC ] || die "PostgreSQL needs the time zone files of this machine: install the package tzdata."
}

start_postgres() {
  local begin=$EPOCHREALTIME
  if postgres_running && postgres_ready; then
    say "  PostgreSQL runs already"
    return
  fi
  require_time_zones
  create_cluster
  require_same_major
  clear_stale_postmaster
  write_postgres_config
  rotate_log "$POSTGRES_LOG"
  if ! postgres_tool pg_ctl start -w -t 60 -D "$PGDATA_DIR" -l "$POSTGRES_LOG" >/dev/null 2>&1 9>&-; then
    last_lines "$POSTGRES_LOG" >&2
    die "PostgreSQL did not start (the lines above are the end of $POSTGRES_LOG)."
  fi
  [ "$(quiet_psql postgres "SELECT 1 FROM pg_database WHERE datname = 'iot_hub'")" = 1 ] ||
    quiet_psql postgres 'CREATE DATABASE iot_hub OWNER iot_hub'
  say "  PostgreSQL started ($(seconds_since "$begin"))"
}

stop_postgres() {
  postgres_running || return 0
  postgres_tool pg_ctl stop -D "$PGDATA_DIR" -m fast -w -t 20 >/dev/null 2>&1 ||
    postgres_tool pg_ctl stop -D "$PGDATA_DIR" -m immediate -w -t 10 >/dev/null 2>&1 ||
    die "PostgreSQL did not stop (see $POSTGRES_LOG)."
  say "  PostgreSQL stopped"
}
