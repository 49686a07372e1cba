# shellcheck shell=bash
# The private Redis.

REDIS_DIR=$INSTANCE_DIR/redis
REDIS_LOG=$INSTANCE_DIR/log/redis.log
REDIS_SOCKET=$RUN_DIR/redis.sock

redis_tool() { # tool arguments
  as_service env -C / "$(package_set_dir services)/usr/bin/$1" "${@:2}"
}

redis_answers() {
  [ -S "$REDIS_SOCKET" ] && [ "$(redis_tool redis-cli -s "$REDIS_SOCKET" ping 2>/dev/null)" = PONG ]
}

write_redis_config() {
  cat >"$INSTANCE_DIR/redis.conf" <<EOF
port 0
unixsocket "$REDIS_SOCKET"
unixsocketperm 700
daemonize yes
pidfile "$INSTANCE_DIR/redis.pid"
logfile "$REDIS_LOG"
dir "$REDIS_DIR"
save ""
appendonly $(durable && echo yes || echo no)
appendfsync everysec
maxmemory-policy noeviction
EOF
  own_by_service "$INSTANCE_DIR/redis.conf"
}

start_redis() {
  local begin=$EPOCHREALTIME tries
  if redis_answers; then
    say "  Redis runs already"
    return
  fi
  make_private_folder "$REDIS_DIR"
  write_redis_config
  rotate_log "$REDIS_LOG"
  redis_tool redis-server "$INSTANCE_DIR/redis.conf" 9>&- || die "Redis did not start (see $REDIS_LOG)."
  # Reading a long append-only file takes its time; the socket answers LOADING until then.
  for tries in {1..300}; do
    ! redis_answers || break
    sleep 0.1
  done
  if [ "$tries" -eq 300 ]; then
    last_lines "$REDIS_LOG" >&2
    die "Redis did not start (the lines above are the end of $REDIS_LOG)."
  fi
  say "  Redis started ($(seconds_since "$begin"))"
}

stop_redis() {
  local tries
  redis_answers || return 0
  redis_tool redis-cli -s "$REDIS_SOCKET" shutdown >/dev/null 2>&1 || true
  for tries in {1..100}; do
    redis_answers || break
    sleep 0.1
  done
  [ "$tries" -lt 100 ] || die "Redis did not stop (see $REDIS_LOG)."
  say "  Redis stopped"
}
