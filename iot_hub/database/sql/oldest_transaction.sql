-- A transaction that stays open keeps old rows from being cleared away.
SELECT pid, usename AS "user", state, round(extract(epoch FROM now() - xact_start))::bigint AS seconds,
    left(regexp_replace(query, '\s+', ' ', 'g'), 120) AS query
FROM pg_stat_activity
WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
ORDER BY xact_start LIMIT 1
