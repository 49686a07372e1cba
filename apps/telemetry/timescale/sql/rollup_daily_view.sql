-- Days in UTC, on top of the hours. A day with a changed hour, and the day of the watermark, are put together anew.
CREATE OR REPLACE VIEW telemetry_daily AS
WITH stale AS NOT MATERIALIZED (
    SELECT
        device_metric_id,
        range_agg(
            tstzrange(
                time_bucket(INTERVAL '1 day', start_at),
                time_bucket(INTERVAL '1 day', end_at - INTERVAL '1 hour') + INTERVAL '24 hours'
            )
        ) AS days
    FROM telemetry_invalidations
    GROUP BY device_metric_id
)
SELECT done.*
FROM rollup_days AS done
LEFT JOIN stale USING (device_metric_id)
WHERE done.bucket < (SELECT date_trunc('day', watermark, 'UTC') FROM telemetry_rollup_state)
    AND (stale.days IS NULL OR NOT stale.days @> done.bucket)
UNION ALL
SELECT changed.device_metric_id, fresh.*
FROM (SELECT device_metric_id, unnest(days) AS days FROM stale) AS changed
CROSS JOIN LATERAL (
    SELECT
        time_bucket(INTERVAL '1 day', hours.bucket) AS bucket,
$columns
    FROM telemetry_hourly AS hours
    WHERE hours.device_metric_id = changed.device_metric_id
        AND hours.bucket >= lower(changed.days)
        AND hours.bucket < least(
            upper(changed.days), (SELECT coalesce(max(date_trunc('day', watermark, 'UTC')), '-infinity') FROM telemetry_rollup_state)
        )
    GROUP BY 1
) AS fresh
UNION ALL
SELECT hours.device_metric_id, time_bucket(INTERVAL '1 day', hours.bucket) AS bucket,
$columns
FROM telemetry_hourly AS hours
WHERE hours.bucket >= (
    SELECT coalesce(max(date_trunc('day', watermark, 'UTC')), '-infinity') FROM telemetry_rollup_state
)
GROUP BY 1, 2;
