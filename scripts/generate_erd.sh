#!/usr/bin/env bash
# Writes docs/db/erd.dbml and docs/db/erd.svg from the models; --check only says whether they are current.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ ! -d .venv/bin ] || PATH=$PWD/.venv/bin:$PATH
SECRET_KEY=${SECRET_KEY:-only-for-the-diagram-and-long-enough} exec python manage.py generate_erd "$@"
