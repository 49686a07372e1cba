# shellcheck shell=bash
# Where things live, and how a script speaks. Sourced by every script here.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=scripts/lib/settings.sh
. "$ROOT/scripts/lib/settings.sh"
IS_ROOT=$([ "$(id -u)" -eq 0 ] && echo yes || echo no)

# The terminal may be gone by now, which is no reason to leave servers running.
say() { printf '%s\n' "$*" 2>/dev/null || true; }

die() {
  printf '%s\n' "$*" >&2
  exit 1
}

WAY_OUT='Use Docker (docker compose up), or set DATABASE_URL and REDIS_URL to your own PostgreSQL 15+ with TimescaleDB and Redis.'

# One sentence about what can't be had here, and what to do instead.
die_without() {
  printf '%s %s\n' "$*" "$WAY_OUT" >&2
  exit 1
}

[ "$(uname -s)" = Linux ] && [ "${BASH_VERSINFO[0]}" -ge 5 ] || die_without "The private services need Linux and bash 5."

default_folder() { # for-root for-others
  if [ "$IS_ROOT" = yes ]; then echo "$1"; else echo "$2"; fi
}

# HOME may be unset where a service manager or a container starts us.
HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6 || true)}
CACHE=$(own_setting IOT_HUB_CACHE "$(default_folder /var/cache/iot-hub "${XDG_CACHE_HOME:-$HOME/.cache}/iot-hub")")
STATE=$(own_setting IOT_HUB_STATE "$(default_folder /var/lib/iot-hub "${XDG_DATA_HOME:-$HOME/.local/share}/iot-hub")")
INSTANCE=$(own_setting IOT_HUB_INSTANCE run)

[[ $INSTANCE =~ ^[A-Za-z0-9_-]+$ ]] ||
  die "IOT_HUB_INSTANCE may hold letters, digits, - and _ only, not \"$INSTANCE\"."

# Two checkouts with the same name must not share data, so the path is part of the name.
checkout_id() {
  local hash name
  hash=$(printf '%s' "$ROOT" | sha256sum)
  name=$(basename "$ROOT" | tr -c 'A-Za-z0-9._\n-' _)
  echo "$name-${hash:0:8}"
}

CHECKOUT=$(checkout_id)
INSTANCE_DIR=$STATE/$CHECKOUT/$INSTANCE

# Held until the script ends. Children that outlive it must close descriptor 9.
lock() { # file [sentence to print when we have to wait]
  { : >>"$1"; } 2>/dev/null || die "Can't write $1."
  exec 9>>"$1"
  flock --nonblock 9 && return
  [ $# -lt 2 ] || say "$2"
  flock 9
}

unlock() { exec 9>&-; }
