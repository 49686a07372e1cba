#!/usr/bin/env bash
# How every process of the hub starts, in a container and under scripts/run alike.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
cd "$ROOT"
# shellcheck source=scripts/lib/settings.sh
. scripts/lib/settings.sh
[ ! -d .venv/bin ] || PATH=$ROOT/.venv/bin:$PATH
export PYTHONUNBUFFERED=1

usage() {
  cat <<EOF
entrypoint.sh prepare   wait for database and Redis, migrate, set up TimescaleDB, seed demo data, collect static files
entrypoint.sh web       the web server (after prepare, unless PREPARE_ON_START=false)
entrypoint.sh worker    a Celery worker for everything; with --exclude-queues sending, beside a sender
entrypoint.sh sender    a Celery worker that sends messages and does nothing else
entrypoint.sh beat      the Celery scheduler
entrypoint.sh COMMAND   anything else, in the same environment
EOF
}

fail() {
  echo "$*" >&2
  exit 1
}

# Without a SECRET_KEY of the operator's one is made and kept, so that sessions outlive a restart.
ensure_secret_key() {
  [ -n "${SECRET_KEY:-}" ] || unset SECRET_KEY
  [ -z "$(own_setting SECRET_KEY)" ] || return 0
  mkdir -p "$LOCAL_DIR"
  (
    flock 9
    [ -n "$(file_setting "$SERVICES_ENV" SECRET_KEY)" ] && exit
    umask 077
    echo "SECRET_KEY=$(python -c 'import secrets; print(secrets.token_urlsafe(48))')" >>"$SERVICES_ENV"
  ) 9>"$LOCAL_DIR/secret.lock"
}

# Both are tried with the addresses that settings.py ends up with; the rest of Django is not needed for that.
wait_for_stores() {
  python -W ignore - "$(own_setting STORE_WAIT 60)" <<'PYTHON'
import os, sys, time
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iot_hub.settings")
from django.conf import settings
from django.db import connection
from django.db.utils import OperationalError
import redis

def wait(connect, passing, variable):
    begin, told = time.monotonic(), False
    while True:
        try:
            return connect()
        except passing as error:
            reason = str(error).strip().partition("\n")[0]
        except Exception as error:
            sys.exit(f"{variable} can't be used: {error}")
        if time.monotonic() > begin + float(sys.argv[1]):
            sys.exit(f"{variable} names a server that can't be reached: {reason}")
        if not told and time.monotonic() > begin + 2:
            told = True
            print(f"  waiting for the server of {variable} ({reason})", flush=True)
        time.sleep(0.5)

wait(connection.ensure_connection, OperationalError, "DATABASE_URL")
wait(lambda: redis.Redis.from_url(settings.REDIS_URL).ping(), redis.exceptions.ConnectionError, "REDIS_URL")
PYTHON
}

# Changes with the packages that bring static files and with our own.
static_key() {
  { cat requirements.txt && find apps iot_hub -path '*/static/*' -type f -exec sha256sum {} + | sort; } | sha256sum
}

collect_static() {
  local key
  key=$(static_key)
  [ "$(cat static/.built 2>/dev/null)" != "$key" ] || return 0
  mkdir -p static
  python manage.py collectstatic --noinput --verbosity 0 && echo "$key" >static/.built
}

# One line and its time when it goes well; all that was said when it doesn't.
step() { # label command...
  local label=$1 begin=$EPOCHREALTIME log
  shift
  log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    fail "$label: failed."
  fi
  rm -f "$log"
  say_time "$label" "$begin"
}

say_time() { # label begin
  local now=${EPOCHREALTIME/[.,]/} begin=${2/[.,]/}
  printf '  %s (%d.%d s)\n' "$1" $(((now - begin) / 1000000)) $(((now - begin) / 100000 % 10))
}

# Tells its progress itself, so it is not wrapped in a step.
seed() {
  ! is_off "$(own_setting ENABLE_SEED_DATA true)" || return 0
  python manage.py seed_dev_data --if-empty || fail "Demo data could not be written; ENABLE_SEED_DATA=false leaves it out."
}

# Schema changes need a session of their own, which a pooler in transaction mode doesn't give.
prepare() {
  local direct
  direct=$(own_setting MIGRATION_DATABASE_URL)
  [ -z "$direct" ] || local -x DATABASE_URL=$direct
  wait_for_stores
  step "database schema is current" python manage.py migrate --noinput
  step "TimescaleDB is set up" python manage.py setup_timescaledb
  seed
  step "static files are in place" collect_static
}

# Several web processes add their counts up in files, which must be of this start alone.
share_metrics() {
  [ "$(own_setting WEB_WORKERS 1)" != 1 ] || return 0
  # Containers share the folder .local, and scripts/run may be on several ports.
  PROMETHEUS_MULTIPROC_DIR=$LOCAL_DIR/metrics/${HOSTNAME:-here}-$(own_setting PORT 8000)
  export PROMETHEUS_MULTIPROC_DIR
  rm -rf "$PROMETHEUS_MULTIPROC_DIR"
  mkdir -p "$PROMETHEUS_MULTIPROC_DIR"
}

web() {
  is_off "$(own_setting PREPARE_ON_START true)" || prepare
  share_metrics
  # Each group of readings is packed into a buffer of a few MB; giving that memory back and fetching it again, page by
  # page, costs more than filling it.
  export MALLOC_TRIM_THRESHOLD_=33554432 MALLOC_MMAP_THRESHOLD_=33554432
  exec python -m iot_hub.web --host "$(own_setting HOST 127.0.0.1)" --port "$(own_setting PORT 8000)" \
    --workers "$(own_setting WEB_WORKERS 1)"
}

worker() {
  celery_worker --concurrency "$(own_setting WORKER_CONCURRENCY 2)" "$@"
}

# Sending waits for others most of the time: one process, whose threads do the waiting.
sender() {
  celery_worker --queues sending --pool threads --concurrency 1 --hostname sender@%h
}

celery_worker() {
  # Celery's page of warning about root says nothing new to who runs the hub as root on a private broker.
  export PYTHONWARNINGS=${PYTHONWARNINGS:+$PYTHONWARNINGS,}ignore:::celery.platforms
  # Nothing asks workers about each other, and leaving that out saves a second at the start.
  exec celery --quiet -A iot_hub worker --loglevel "$(own_setting WORKER_LOG_LEVEL INFO)" --without-gossip --without-mingle "$@"
}

beat() {
  mkdir -p "$LOCAL_DIR"
  exec celery --quiet -A iot_hub beat --loglevel "$(own_setting WORKER_LOG_LEVEL INFO)" --schedule "$LOCAL_DIR/beat-schedule" --pidfile=
}

case ${1:-} in
  '' | -h | --help) usage ;;
  static) collect_static ;;
  prepare | web | worker | sender | beat)
    ensure_secret_key
    "$@"
    ;;
  *)
    ensure_secret_key
    exec "$@"
    ;;
esac
