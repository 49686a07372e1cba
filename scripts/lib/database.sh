# shellcheck shell=bash
# Which database the scripts work on, and with which of PostgreSQL's programs. Sourced after paths, packages and instance.

COMPOSE=${COMPOSE:-no}

# Past the pooler where there is one: a dump needs a session of its own.
database_setting() {
  local name value
  for name in MIGRATION_DATABASE_URL DATABASE_URL; do
    value=$(own_setting "$name")
    [ -z "$value" ] || { printf '%s\n' "$value" && return; }
  done
  file_setting "$SERVICES_ENV" DATABASE_URL || instance_urls | sed -n 's/^DATABASE_URL=//p'
}

percent_decode() {
  local text=${1//\\/\\\\}
  printf '%b' "${text//%/\\x}"
}

# Sets SERVER, OPTIONS, DATABASE and PGPASSWORD. The password leaves the URL: arguments can be read by everyone on the machine.
choose_database() {
  if [ "$COMPOSE" = yes ]; then
    URL=postgresql://iot_hub@/iot_hub
  else
    URL=$(database_setting)
  fi
  [[ $URL =~ ^[a-z0-9+]+://([^/?]*)/([^?]+)(\?.*)?$ ]] ||
    die "DATABASE_URL is not of the form postgresql://user:password@host:port/database."
  local place=${BASH_REMATCH[1]} login host
  # shellcheck disable=SC2034 # for whoever sources this
  DATABASE=$(percent_decode "${BASH_REMATCH[2]}")
  OPTIONS=${BASH_REMATCH[3]}
  host=${place##*@}
  login=
  [ "$host" = "$place" ] || login=${place%@*}
  if [[ $login == *:* ]]; then
    PGPASSWORD=$(percent_decode "${login#*:}")
    export PGPASSWORD
    login=${login%%:*}
  fi
  SERVER=postgresql://${login:+$login@}$host
}

url_of() { # database
  printf '%s/%s%s' "$SERVER" "$(percent_encode "$1")" "$OPTIONS"
}

# Runs one of PostgreSQL's programs; files go through its input and output, so that a container needs no folder of ours.
pg() { # program arguments
  if [ "$COMPOSE" = yes ]; then
    docker compose exec -T db "$1" "${@:2}"
  else
    "$(program "$1")" "${@:2}"
  fi
}

# psql reads variables from its input only, not from --command.
sql() { # database statement [psql arguments]
  printf '%s\n' "$2" | pg psql --no-psqlrc --quiet --no-align --tuples-only -v ON_ERROR_STOP=1 --dbname="$(url_of "$1")" "${@:3}"
}

programs() { # name
  ls "$(package_set_dir services)"/usr/lib/postgresql/*/bin/"$1" 2>/dev/null || true
  command -v "$1" || true
  ls -r /usr/lib/postgresql/*/bin/"$1" 2>/dev/null || true
}

major_of() { "$1" --version 2>/dev/null | sed 's/^[^0-9]*\([0-9]*\).*/\1/'; }

# The first that is not older than the server: pg_dump refuses a newer one.
program() { # name
  local path
  while read -r path; do
    if [ "$(major_of "$path")" -ge "${SERVER_MAJOR:-0}" ] 2>/dev/null; then
      printf '%s\n' "$path"
      return
    fi
  done < <(programs "$1")
  die "There is no $1${SERVER_MAJOR:+ of version $SERVER_MAJOR or newer} on this machine: install postgresql-client, or run scripts/services install."
}

# Sets SERVER_MAJOR, so a server that does not answer is told before anything else.
require_server() { # database
  local version
  [ "$COMPOSE" = yes ] || program psql >/dev/null
  version=$(sql "$1" 'SHOW server_version_num' 2>&1) || die "The database server does not answer: ${version%%$'\n'*}"
  # shellcheck disable=SC2034 # for program
  SERVER_MAJOR=$((version / 10000))
}

timescale_version() { # database
  sql "$1" "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
}
