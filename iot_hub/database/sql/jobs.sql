-- TimescaleDB's own jobs (policies, refreshes of rollups): when each last went well, and what is wrong with it.
SELECT j.proc_name AS job, coalesce(c.view_name, j.hypertable_name)::text AS relation, s.last_successful_finish AS last_success,
    round(extract(epoch FROM now() - s.last_successful_finish))::bigint AS lag_seconds, s.last_run_status AS status,
    s.total_failures AS failures
FROM timescaledb_information.jobs AS j
LEFT JOIN timescaledb_information.continuous_aggregates AS c
    ON c.materialization_hypertable_name = j.hypertable_name AND c.materialization_hypertable_schema = j.hypertable_schema
LEFT JOIN timescaledb_information.job_stats AS s ON s.job_id = j.job_id
WHERE j.hypertable_name IS NOT NULL ORDER BY 2, 1
