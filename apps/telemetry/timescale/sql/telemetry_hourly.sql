-- Real time: what is not yet materialized is computed from the readings, so the newest data is always in.
-- True and false count as 1 and 0 (sum / count is the share of time true); texts are only counted.
CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    device_metric_id,
    time_bucket(INTERVAL '1 hour', ts) AS bucket,
    count(*) AS count,
    sum(coalesce(value_numeric, value_bool::int)) AS sum,
    sum(coalesce(value_numeric, value_bool::int) * coalesce(value_numeric, value_bool::int)) AS sum_sq,
    min(coalesce(value_numeric, value_bool::int)) AS min,
    max(coalesce(value_numeric, value_bool::int)) AS max,
    first(coalesce(value_numeric, value_bool::int), ts) AS first,
    last(coalesce(value_numeric, value_bool::int), ts) AS last
FROM telemetry
GROUP BY device_metric_id, time_bucket(INTERVAL '1 hour', ts)
WITH NO DATA;
