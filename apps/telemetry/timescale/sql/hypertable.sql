-- No index on ts alone: the key (device_metric_id, ts) serves every read, chunks cut by time, and a second
-- index would cost a third of the ingest.
SELECT create_hypertable(
    'telemetry',
    by_range('ts', $interval),
    create_default_indexes => false,
    if_not_exists => true,
    migrate_data => true
);
