# shellcheck shell=bash
# One instance: a folder with the data, sockets and logs of a PostgreSQL and a Redis that nobody else can reach.

SOCKET_LIMIT=107 # bytes that the kernel allows in the path of a unix socket

# PostgreSQL refuses to run as root, so root hands both servers to a user without rights.
SERVICE_USER=nobody

as_service() {
  if [ "$IS_ROOT" = yes ]; then
    setpriv --reuid="$(id -u "$SERVICE_USER")" --regid="$(id -g "$SERVICE_USER")" --clear-groups "$@"
  else
    "$@"
  fi
}

own_by_service() { # folders
  [ "$IS_ROOT" = no ] || chown "$SERVICE_USER:$(id -gn "$SERVICE_USER")" "$@"
}

byte_length() { local LC_ALL=C; echo "${#1}"; }

# Sockets lie beside the data unless that path is too long for one.
run_dir() {
  local dir=$INSTANCE_DIR/run
  if [ $(($(byte_length "$dir/.s.PGSQL.5432.lock") + 1)) -gt "$SOCKET_LIMIT" ]; then
    dir=/tmp/iot-hub-$(id -u)-$(printf '%s' "$INSTANCE_DIR" | sha256sum | cut -c1-12)
  fi
  echo "$dir"
}

RUN_DIR=$(run_dir)

make_private_folder() { # folder
  # Someone else could have made the folder in /tmp first, to listen in.
  if [ -e "$1" ] && [ "$(stat -c %u "$1")" != "$(as_service id -u)" ]; then
    [ "$IS_ROOT" = yes ] && [ -O "$1" ] || die "$1 belongs to someone else; remove it, or choose a shorter IOT_HUB_STATE."
  fi
  mkdir -p "$1"
  own_by_service "$1"
  chmod 700 "$1"
}

prepare_instance() {
  mkdir -p "$STATE/$CHECKOUT" 2>/dev/null || die "Can't write $STATE; set IOT_HUB_STATE to a folder of yours."
  local dir
  for dir in "$INSTANCE_DIR" "$INSTANCE_DIR/log" "$RUN_DIR"; do make_private_folder "$dir"; done
  as_service test -x "$INSTANCE_DIR/log" ||
    die "User $SERVICE_USER, who runs the servers for root, can't reach $STATE; open it (chmod o+x) or set IOT_HUB_STATE."
}

lock_instance() {
  mkdir -p "$STATE/$CHECKOUT" 2>/dev/null || die "Can't write $STATE; set IOT_HUB_STATE to a folder of yours."
  lock "$STATE/$CHECKOUT/$INSTANCE.lock" "  waiting for another start or stop of instance $INSTANCE"
}

# Everything that a URL gives a meaning to, except the slash, which is none in a query.
percent_encode() {
  local LC_ALL=C text=$1 i char
  for ((i = 0; i < ${#text}; i++)); do
    char=${text:i:1}
    case $char in
      [A-Za-z0-9._~/-]) printf '%s' "$char" ;;
      *) printf '%%%02X' "$(($(printf '%d' "'$char") & 255))" ;;
    esac
  done
}

instance_urls() {
  local dir
  dir=$(percent_encode "$RUN_DIR")
  echo "DATABASE_URL=postgresql://iot_hub@/iot_hub?host=$dir"
  echo "REDIS_URL=unix://$dir/redis.sock?db=0"
}

durable() { [ "$INSTANCE" != test ] || [ "${IOT_HUB_DURABLE:-}" = 1 ]; }

# Megabytes that this machine, or the container that we are in, gives us.
memory_mb() {
  local total limit
  total=$(awk '/^MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
  limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max)
  if [ "$limit" != max ] && [ $((limit / 1048576)) -lt "$total" ]; then total=$((limit / 1048576)); fi
  echo "$total"
}

# A log that grew over many starts is kept once more and begun anew.
rotate_log() { # file
  local size
  size=$(stat -c %s "$1" 2>/dev/null || echo 0)
  [ "$size" -lt 20000000 ] || mv "$1" "$1.old"
}

last_lines() { # file
  tail -n 5 "$1" 2>/dev/null | sed 's/^/    /'
}

seconds_since() { # EPOCHREALTIME
  local now=${EPOCHREALTIME/[.,]/} then=${1/[.,]/}
  printf '%d.%d s' $(((now - then) / 1000000)) $(((now - then) / 100000 % 10))
}
