-- Who is connected to this database, of how many that the whole server takes.
SELECT coalesce(state, backend_type) AS state, count(*) AS connections, current_setting('max_connections')::int AS server_limit,
    round(extract(epoch FROM max(now() - state_change)))::bigint AS longest_seconds
FROM pg_stat_activity WHERE datname = current_database() GROUP BY 1 ORDER BY 2 DESC
