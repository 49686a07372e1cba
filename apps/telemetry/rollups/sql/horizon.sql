-- The first hour of each series that can still be recomputed: the readings and the day's other hours are there.
-- Readings of some types are deleted earlier, up to the beginning of a day.
SELECT
    series.id AS device_metric_id,
    greatest(
        state.hours_from,
        state.raw_from,
        date_trunc('day', %(now)s::timestamptz - types.raw_retention, 'UTC')
    ) AS since
FROM device_metrics AS series
JOIN devices ON devices.id = series.device_id
JOIN device_types AS types ON types.id = devices.device_type_id
CROSS JOIN telemetry_rollup_state AS state
