-- Days in UTC, on top of the hours; days of other time zones are put together from the hours.
CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    device_metric_id,
    time_bucket(INTERVAL '1 day', telemetry_hourly.bucket) AS bucket,
    sum(count)::bigint AS count,
    sum(sum) AS sum,
    sum(sum_sq) AS sum_sq,
    min(min) AS min,
    max(max) AS max,
    first(first, telemetry_hourly.bucket) AS first,
    last(last, telemetry_hourly.bucket) AS last
FROM telemetry_hourly
GROUP BY device_metric_id, time_bucket(INTERVAL '1 day', telemetry_hourly.bucket)
WITH NO DATA;
