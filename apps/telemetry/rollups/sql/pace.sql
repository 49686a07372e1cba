-- Every minute, but where a refresh takes long, ten times as long, up to a quarter of an hour: TimescaleDB recomputes a
-- changed hour for all series, and all hours from the oldest to the newest reading of a commit in a chunk.
SELECT alter_job(job_id, schedule_interval => wanted)
FROM timescaledb_information.jobs
JOIN timescaledb_information.job_stats USING (job_id)
CROSS JOIN LATERAL (
    SELECT least(
        INTERVAL '15 minutes',
        INTERVAL '1 minute' * greatest(1, ceil(extract(epoch FROM last_run_duration) / 6))
    ) AS wanted
) AS pace
JOIN timescaledb_information.continuous_aggregates AS rollups
    ON jobs.hypertable_name IN (rollups.view_name, rollups.materialization_hypertable_name)
WHERE proc_name = 'policy_refresh_continuous_aggregate' AND schedule_interval <> wanted
    AND view_name IN ('telemetry_hourly', 'telemetry_daily') AND view_schema = current_schema();
