# shellcheck shell=bash
# A virtual environment in .venv with what the requirements name, on a Python that Django supports.

VENV=$ROOT/.venv
VENV_MARK=$VENV/.unfinished # there while pip works: found later, it tells of an install that was cut off
PYTHON_REGEX='python3\.1[2-4]'

# --- an interpreter -------------------------------------------------------------------------------------------------

# The distribution's own first: others are often built without optimizations (pyenv does so), which costs a third.
distribution_pythons() {
  local version
  for version in 3.13 3.14 3.12; do
    compgen -G "/usr/bin/python$version" || true
  done
}

other_pythons() {
  local version folder
  for version in 3.13 3.14 3.12; do
    type -aP "python$version" || true
    for folder in "${PYENV_ROOT:-$HOME/.pyenv}" "$HOME/.pyenv"; do
      compgen -G "$folder/versions/$version*/bin/python$version" || true
    done
  done
  type -aP python3 || true
}

# Prints the real path of an interpreter that is new enough and can make environments (Debian's own may lack ensurepip).
usable_python() { # command
  "$1" - 2>/dev/null <<'PYTHON'
import ensurepip, ssl, sys, sysconfig, venv
good = (3, 12) <= sys.version_info < (3, 15) and sys.implementation.name == "cpython"
if not good or sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.exit(1)
print(getattr(sys, "_base_executable", "") or sys.executable)
PYTHON
}

first_usable() { # of the commands that are read
  local candidate
  while read -r candidate; do
    ! usable_python "$candidate" || return 0
  done
  return 1
}

# 1: a private one is to be had instead. 2: the one that somebody chose won't do.
find_python() {
  local chosen
  chosen=$(own_setting IOT_HUB_PYTHON)
  if [ -n "$chosen" ]; then
    usable_python "$chosen" || return 2
  else
    distribution_pythons | first_usable || { ! (require_packages_possible '' 2>/dev/null) && other_pythons | first_usable; }
  fi
}

# --- or a private one, from the distribution's packages --------------------------------------------------------------

private_python() { compgen -G "$(package_set_dir python)/usr/bin/python3.1[2-4]" | tail -n 1; }

private_pip() { compgen -G "$(package_set_dir python)/usr/share/python-wheels/pip-*.whl" | tail -n 1; }

python_packages() { # folder
  newest_package "$1" "$PYTHON_REGEX"
  printf '%s\n' python3-pip-whl ca-certificates patchelf
}

python_set() { # works|patch folder [final folder]
  case $1 in
    works)
      local program
      program=$(compgen -G "$2/usr/bin/python3.1[2-4]" | tail -n 1)
      [ -n "$program" ] && "$program" -c 'import ssl, sqlite3, venv, zoneinfo' 2>/dev/null
      ;;
    patch)
      local programs
      mapfile -t programs < <(elf_programs "$2/usr/bin" 'python3.*')
      patch_programs "$2" "$3" "${programs[@]}" && cat "$2"/usr/share/ca-certificates/mozilla/*.crt >"$2/ca-certificates.crt"
      ;;
  esac
}

install_private_python() {
  local begin=$EPOCHREALTIME
  local WAY_OUT='Use Docker (docker compose up), or install Python 3.12 or newer with its venv module.'
  ! python_set works "$(package_set_dir python)" || return 0
  require_packages_possible 'a private Python'
  say "  no Python 3.12 to 3.14 of the distribution's that can make environments, so a private one is fetched"
  install_package_set python Python "$PYTHON_REGEX" python_set python_packages
  say "  Python unpacked into $CACHE ($(seconds_since "$begin"))"
}

# Debian's pip trusts the machine's certificates, which a bare machine doesn't have: then those that came with Python.
use_own_certificates() { # folder that pip lies in
  local system=/etc/ssl/certs/ca-certificates.crt
  [ -e "$system" ] || sed -i "s#$system#$(package_set_dir python)/ca-certificates.crt#" "$1/pip/_vendor/certifi/core.py"
}

# ensurepip, which would do this, looks for the wheel in the system's place.
give_pip() { # venv
  local folder
  folder=$(mktemp -d)
  "$1/bin/python" -m zipfile -e "$(private_pip)" "$folder"
  use_own_certificates "$folder"
  PYTHONPATH=$folder "$1/bin/python" -m pip install --quiet --no-index --no-deps --ignore-installed "$(private_pip)" || return 1
  rm -rf "$folder"
  use_own_certificates "$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
}

# --- the environment ------------------------------------------------------------------------------------------------

# Whole means: made for this folder, its interpreter still there, and not left half-way by an interrupted install.
venv_is_whole() {
  [ -x "$VENV/bin/python" ] && [ ! -e "$VENV_MARK" ] && [ -f "$VENV/bin/pip" ] &&
    head -n 3 "$VENV/bin/pip" | grep -qF "$VENV/bin/" &&
    "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null
}

make_venv() {
  local python status=0
  rm -rf "$VENV"
  python=$(find_python) || status=$?
  [ "$status" -ne 2 ] || die "IOT_HUB_PYTHON=$(own_setting IOT_HUB_PYTHON) is no Python 3.12 to 3.14 that can make environments."
  if [ "$status" -eq 0 ]; then
    mkdir -p "$VENV" && touch "$VENV_MARK"
    "$python" -m venv "$VENV" >"$PIP_LOG" 2>&1 || die "$python could not make a virtual environment (see $PIP_LOG)."
  else
    install_private_python
    mkdir -p "$VENV" && touch "$VENV_MARK"
    "$(private_python)" -m venv --without-pip "$VENV"
    give_pip "$VENV" >"$PIP_LOG" 2>&1 || die "pip could not be set up in $VENV (see $PIP_LOG)."
  fi
}

requirement_files() { # base|dev
  echo "$ROOT/requirements.txt"
  [ "$1" = base ] || echo "$ROOT/requirements-dev.txt"
}

requirements_key() { # base|dev
  local files
  mapfile -t files < <(requirement_files "$1")
  { cat "${files[@]}" && readlink -f "$VENV/bin/python"; } | sha256sum | cut -d' ' -f1
}

requirements_installed() { # base|dev
  [ "$(cat "$VENV/.requirements-$1" 2>/dev/null)" = "$(requirements_key "$1")" ]
}

show_pip_progress() { # pid
  while kill -0 "$1" 2>/dev/null; do
    printf '\r\033[K  %.78s' "Python packages: $(grep -oE '(Collecting|Downloading|Installing) [^ ]+' "$PIP_LOG" | tail -n 1)"
    sleep 0.2
  done
  printf '\r\033[K'
}

install_requirements() { # base|dev
  local pid code=0
  touch "$VENV_MARK"
  say "  installing Python packages"
  PIP_USER=0 "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off \
    -r "$(requirement_files "$1" | tail -n 1)" >"$PIP_LOG" 2>&1 &
  pid=$!
  [ ! -t 1 ] || show_pip_progress "$pid"
  wait "$pid" || code=$?
  if [ "$code" -ne 0 ]; then
    # Killed, it may have left half a package. Where it gave up itself (no network, no space), it put things back.
    [ "$code" -gt 128 ] || rm -f "$VENV_MARK"
    grep -E '^ *(ERROR|error)' "$PIP_LOG" | tail -n 3 >&2 || true
    die "The Python packages could not be installed (all of pip's words are in $PIP_LOG)."
  fi
  record_requirements "$1"
  rm -f "$VENV_MARK"
}

record_requirements() { # base|dev
  requirements_key base >"$VENV/.requirements-base"
  [ "$1" = base ] || requirements_key dev >"$VENV/.requirements-dev"
}

ensure_venv() { # base|dev
  local begin=$EPOCHREALTIME
  PIP_LOG=$LOCAL_DIR/pip.log
  unset PYTHONHOME PYTHONPATH
  mkdir -p "$LOCAL_DIR"
  lock "$LOCAL_DIR/venv.lock" "  waiting for another install into $VENV"
  venv_is_whole || make_venv
  requirements_installed "$1" || install_requirements "$1"
  unlock
  say "  Python $("$VENV/bin/python" -c 'import platform; print(platform.python_version())') is ready ($(seconds_since "$begin"))"
}
