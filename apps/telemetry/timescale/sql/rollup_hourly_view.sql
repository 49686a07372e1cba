-- Exact at every moment: what has been refreshed, but hours that have changed since and those after the watermark
-- from the readings. By series, because the key is the only index that telemetry has.
CREATE OR REPLACE VIEW telemetry_hourly AS
WITH stale AS NOT MATERIALIZED (
    SELECT device_metric_id, range_agg(tstzrange(start_at, end_at)) AS hours
    FROM telemetry_invalidations
    GROUP BY device_metric_id
)
SELECT done.*
FROM rollup_hours AS done
LEFT JOIN stale USING (device_metric_id)
WHERE done.bucket < (SELECT watermark FROM telemetry_rollup_state)
    AND (stale.hours IS NULL OR NOT stale.hours @> done.bucket)
UNION ALL
SELECT changed.device_metric_id, fresh.*
FROM (SELECT device_metric_id, unnest(hours) AS hours FROM stale) AS changed
CROSS JOIN LATERAL (
    SELECT
        time_bucket(INTERVAL '1 hour', ts) AS bucket,
$columns
    FROM telemetry
    WHERE telemetry.device_metric_id = changed.device_metric_id
        AND ts >= lower(changed.hours)
        AND ts < least(upper(changed.hours), (SELECT coalesce(max(watermark), '-infinity') FROM telemetry_rollup_state))
    GROUP BY 1
) AS fresh
UNION ALL
SELECT series.id, newest.*
FROM device_metrics AS series
CROSS JOIN LATERAL (
    SELECT
        time_bucket(INTERVAL '1 hour', ts) AS bucket,
$columns
    FROM telemetry
    WHERE telemetry.device_metric_id = series.id
        AND ts >= (SELECT coalesce(max(watermark), '-infinity') FROM telemetry_rollup_state)
    GROUP BY 1
) AS newest;
