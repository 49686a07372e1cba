# shellcheck shell=bash
# Everything that scripts/run starts carries a mark in its environment, so that it can be found and ended even when
# whoever started it is gone. The servers are not marked: they end by their own command.

RUN_MARK=$CHECKOUT-$INSTANCE
MARK_VARIABLE=IOT_HUB_RUN_MARK

marked_processes() {
  # A process can end while we look, hence the silence.
  grep -lzxF "$MARK_VARIABLE=$RUN_MARK" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 | grep -vxE "$$|$BASHPID" || true
}

end_processes() {
  local pids tries told=
  kill -TERM ${STEP:+"$STEP"} ${HONCHO:+"$HONCHO"} 2>/dev/null || true
  for tries in {1..80}; do
    mapfile -t pids < <(marked_processes)
    [ "${#pids[@]}" -gt 0 ] || return 0
    # honcho ends its own in order; where it is gone, or takes too long, they hear it from us.
    if [ -z "$told" ] && { [ "$tries" -ge 40 ] || ! kill -0 "${HONCHO:-none}" 2>/dev/null; }; then
      kill -TERM "${pids[@]}" 2>/dev/null || true
      told=yes
    fi
    sleep 0.1
  done
  kill -KILL "${pids[@]}" 2>/dev/null || true
}

end_leftovers() {
  local pids
  mapfile -t pids < <(marked_processes)
  [ "${#pids[@]}" -gt 0 ] || return 0
  say "  ending ${#pids[@]} processes left over from a run that was killed"
  end_processes
}

# Runs a step that a signal can cut short: bash would wait for the end of a command in the foreground.
run_step() { # command...
  (
    declare -gx "$MARK_VARIABLE=$RUN_MARK"
    "$@"
  ) &
  STEP=$!
  wait "$STEP"
  STEP=
}
