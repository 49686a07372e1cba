-- What is refreshed, for the edition that has no continuous aggregates. Hypertables too, so that old
-- rollups go by whole chunks.
CREATE TABLE IF NOT EXISTS rollup_hours (
    device_metric_id integer NOT NULL,
    bucket timestamptz NOT NULL,
    count bigint NOT NULL,
    sum double precision,
    sum_sq double precision,
    min double precision,
    max double precision,
    first double precision,
    last double precision,
    PRIMARY KEY (device_metric_id, bucket)
);
CREATE TABLE IF NOT EXISTS rollup_days (LIKE rollup_hours INCLUDING ALL);
SELECT create_hypertable(
    'rollup_hours', by_range('bucket', INTERVAL '90 days'), create_default_indexes => false, if_not_exists => true
);
SELECT create_hypertable(
    'rollup_days', by_range('bucket', INTERVAL '1800 days'), create_default_indexes => false, if_not_exists => true
);
