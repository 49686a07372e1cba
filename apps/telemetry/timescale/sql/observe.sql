-- What setup_timescaledb has done in this database: the key of each step, and its value there. Rollups are
-- named as their views, not as the hypertables behind them.
WITH named AS (
    SELECT j.proc_name, j.config, coalesce(c.view_name, j.hypertable_name) AS relation
    FROM timescaledb_information.jobs AS j
    LEFT JOIN timescaledb_information.continuous_aggregates AS c
        ON c.materialization_hypertable_name = j.hypertable_name
        AND c.materialization_hypertable_schema = j.hypertable_schema
)
SELECT 'hypertable' AS key, hypertable_name::text AS value, NULL::interval AS i
FROM timescaledb_information.hypertables
WHERE hypertable_name = 'telemetry' AND hypertable_schema = current_schema()
UNION ALL
SELECT 'chunk interval', NULL, time_interval
FROM timescaledb_information.dimensions
WHERE hypertable_name = 'telemetry' AND hypertable_schema = current_schema()
UNION ALL
SELECT 'compression', segmentby || ' / ' || orderby, NULL
FROM timescaledb_information.hypertable_compression_settings
WHERE hypertable = to_regclass('telemetry')
UNION ALL
SELECT view_name, 'continuous', NULL
FROM timescaledb_information.continuous_aggregates
WHERE view_name IN ('telemetry_hourly', 'telemetry_daily') AND view_schema = current_schema()
UNION ALL
SELECT viewname, 'view', NULL
FROM pg_views
WHERE viewname IN ('telemetry_hourly', 'telemetry_daily') AND schemaname = current_schema()
    AND to_regclass('rollup_hours') IS NOT NULL
UNION ALL
SELECT 'rollup tables', 'there', NULL
FROM timescaledb_information.hypertables
WHERE hypertable_name = 'rollup_days' AND hypertable_schema = current_schema()
UNION ALL
SELECT 'compress ' || relation || ' after', NULL, (config ->> 'compress_after')::interval
FROM named
WHERE proc_name = 'policy_compression'
UNION ALL
SELECT 'keep ' || relation || ' for', NULL, (config ->> 'drop_after')::interval
FROM named
WHERE proc_name = 'policy_retention'
UNION ALL
SELECT 'refresh ' || relation || ' back to', 'ever', (config ->> 'start_offset')::interval
FROM named
WHERE proc_name = 'policy_refresh_continuous_aggregate'
