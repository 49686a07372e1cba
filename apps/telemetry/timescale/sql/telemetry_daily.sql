-- Days in UTC, on top of the hours; days of other time zones are put together from the hours.
CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_daily
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    device_metric_id,
    time_bucket(INTERVAL '1 day', hours.bucket) AS bucket,
$columns
FROM telemetry_hourly AS hours
GROUP BY device_metric_id, time_bucket(INTERVAL '1 day', hours.bucket)
WITH NO DATA;
