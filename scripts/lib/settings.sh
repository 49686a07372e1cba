# shellcheck shell=bash
# Settings as settings.py sees them: the environment, then .env, then what scripts/run wrote about its own services.
# ROOT is set by whoever sources this.

LOCAL_DIR=$ROOT/.local
# shellcheck disable=SC2034 # for whoever sources this
SERVICES_ENV=$LOCAL_DIR/services.env

file_setting() { # file name
  local value
  [ -r "$1" ] || return 1
  value=$(sed -n "s/^[[:space:]]*\(export[[:space:]]\+\)\?$2=//p" "$1" | tail -n 1 | tr -d '\r')
  case $value in
    \"*\") value=${value#\"} && value=${value%\"} ;;
    \'*\') value=${value#\'} && value=${value%\'} ;;
  esac
  [ -n "$value" ] && printf '%s\n' "$value"
}

# What a person set, leaving aside what scripts/run wrote.
own_setting() { # name [default]
  if [ -n "${!1:-}" ]; then
    printf '%s\n' "${!1}"
  else
    file_setting "$ROOT/.env" "$1" || printf '%s\n' "${2:-}"
  fi
}

is_off() { case ${1,,} in false | off | no | n | 0) ;; *) return 1 ;; esac; }
