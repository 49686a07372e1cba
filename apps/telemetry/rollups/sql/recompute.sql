-- The hours of stale_hours, and the whole days among those that they lie in, anew.
DELETE FROM rollup_hours USING stale_hours AS stale
WHERE rollup_hours.device_metric_id = stale.device_metric_id
    AND rollup_hours.bucket >= lower(stale.hours) AND rollup_hours.bucket < upper(stale.hours);

INSERT INTO rollup_hours (device_metric_id, bucket, count, sum, sum_sq, min, max, first, last)
SELECT stale.device_metric_id, fresh.*
FROM stale_hours AS stale
CROSS JOIN LATERAL (
    SELECT
        time_bucket(INTERVAL '1 hour', ts) AS bucket,
$hour_columns
    FROM telemetry
    WHERE telemetry.device_metric_id = stale.device_metric_id
        AND ts >= lower(stale.hours) AND ts < upper(stale.hours)
    GROUP BY 1
) AS fresh;

INSERT INTO stale_days
SELECT device_metric_id, unnest(range_agg(tstzrange(
    time_bucket(INTERVAL '1 day', lower(hours)),
    least(
        time_bucket(INTERVAL '1 day', upper(hours) - INTERVAL '1 hour') + INTERVAL '24 hours',
        date_trunc('day', watermark, 'UTC')
    )
)))
FROM stale_hours, telemetry_rollup_state
WHERE lower(hours) < date_trunc('day', watermark, 'UTC')
GROUP BY 1;

DELETE FROM rollup_days USING stale_days AS stale
WHERE rollup_days.device_metric_id = stale.device_metric_id
    AND rollup_days.bucket >= lower(stale.days) AND rollup_days.bucket < upper(stale.days);

INSERT INTO rollup_days (device_metric_id, bucket, count, sum, sum_sq, min, max, first, last)
SELECT stale.device_metric_id, fresh.*
FROM stale_days AS stale
CROSS JOIN LATERAL (
    SELECT
        time_bucket(INTERVAL '1 day', hours.bucket) AS bucket,
$day_columns
    FROM rollup_hours AS hours
    WHERE hours.device_metric_id = stale.device_metric_id
        AND hours.bucket >= lower(stale.days) AND hours.bucket < upper(stale.days)
    GROUP BY 1
) AS fresh;
