-- The readings of old hours and days may be gone. What is refreshed later replaces what is taken over.
DO $$$$
DECLARE
    kept record;
BEGIN
    FOR kept IN
        SELECT
            format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name) AS aggregate,
            CASE view_name WHEN 'telemetry_hourly' THEN 'rollup_hours' ELSE 'rollup_days' END AS own
        FROM timescaledb_information.continuous_aggregates
        WHERE view_name IN ('telemetry_hourly', 'telemetry_daily') AND view_schema = current_schema()
    LOOP
        EXECUTE format(
            'INSERT INTO %s (device_metric_id, bucket, count, sum, sum_sq, min, max, first, last)
            SELECT device_metric_id, bucket, count, sum, sum_sq, min, max, first, last FROM %I', kept.aggregate, kept.own
        );
    END LOOP;
END $$$$;
DROP TABLE rollup_days, rollup_hours;
