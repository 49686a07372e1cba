#!/bin/bash
# Run once by the database image, when its volume is empty: the extensions that the hub uses.
set -euo pipefail

psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE EXTENSION IF NOT EXISTS timescaledb;
CREATE EXTENSION IF NOT EXISTS citext;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
-- Only where POSTGRES_PRELOAD names it: its extension refuses to be made without its library.
SELECT 'CREATE EXTENSION IF NOT EXISTS pgaudit'
WHERE current_setting('shared_preload_libraries') LIKE '%pgaudit%' \gexec
SQL
