# shellcheck shell=bash
# The package set that the private servers come from, and what can be done with an instance of them.

SERVICES_REGEX='postgresql-(1[5-9]|[2-9][0-9])-timescaledb'

services_packages() { # folder
  local timescale
  timescale=$(newest_package "$1" "$SERVICES_REGEX")
  printf '%s\n' "$timescale" "${timescale%-timescaledb}" redis-server patchelf
}

services_set() { # works|patch folder [final folder]
  case $1 in
    works)
      local bin
      bin=$(echo "$2"/usr/lib/postgresql/*/bin)
      "$bin/postgres" -V >/dev/null 2>&1 && "$2/usr/bin/redis-server" -v >/dev/null 2>&1
      ;;
    patch)
      local programs
      mapfile -t programs < <(elf_programs "$(echo "$2"/usr/lib/postgresql/*/bin)" '*' && elf_programs "$2/usr/bin" 'redis-*')
      patch_programs "$2" "$3" "${programs[@]}"
      ;;
  esac
}

require_reachable_cache() {
  mkdir -p "$CACHE" 2>/dev/null && as_service test -x "$CACHE" ||
    die "Can't use $CACHE${1:+ ($1)}; open it or set IOT_HUB_CACHE to another folder."
}

install_services() {
  local begin=$EPOCHREALTIME
  ! services_set works "$(package_set_dir services)" || return 0
  require_packages_possible 'a private PostgreSQL and Redis'
  require_reachable_cache "$([ "$IS_ROOT" = no ] || echo "user $SERVICE_USER, who runs the servers for root, must reach it")"
  install_package_set services 'PostgreSQL, TimescaleDB and Redis' "$SERVICES_REGEX" services_set services_packages
  say "  PostgreSQL, TimescaleDB and Redis unpacked into $CACHE ($(seconds_since "$begin"))"
}

start_services() { # which: both, postgres or redis
  install_services
  lock_instance
  prepare_instance
  [ "$1" = redis ] || start_postgres
  [ "$1" = postgres ] || start_redis
  unlock
}

stop_services() {
  lock_instance
  stop_redis
  stop_postgres
  unlock
}

show_status() {
  local down=0
  if postgres_running; then say "PostgreSQL runs"; else say "PostgreSQL is down" && down=1; fi
  if redis_answers; then say "Redis runs"; else say "Redis is down" && down=1; fi
  say "instance $INSTANCE in $INSTANCE_DIR"
  return "$down"
}

wipe_instance() {
  stop_services
  rm -rf "$INSTANCE_DIR"
  [ "$RUN_DIR" = "$INSTANCE_DIR/run" ] || rm -rf "$RUN_DIR"
  say "  instance $INSTANCE deleted"
}

tool_path() { # tool
  local path
  for path in "$(postgres_bin)/$1" "$(package_set_dir services)/usr/bin/$1"; do
    if [ -x "$path" ]; then
      echo "$path"
      return
    fi
  done
  die "There is no $1 among the private programs; scripts/services install fetches them."
}

# As the caller, who may write files that the servers' user may not; root gets into the closed folder anyway.
run_tool() { # tool arguments
  local path
  path=$(tool_path "$1")
  export PGHOST=$RUN_DIR PGUSER=iot_hub PGDATABASE=${PGDATABASE:-iot_hub}
  exec "$path" "${@:2}"
}
