-- Real time: what is not yet materialized is computed from the readings, so the newest data is always in.
CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry_hourly
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    device_metric_id,
    time_bucket(INTERVAL '1 hour', ts) AS bucket,
$columns
FROM telemetry
GROUP BY device_metric_id, time_bucket(INTERVAL '1 hour', ts)
WITH NO DATA;
