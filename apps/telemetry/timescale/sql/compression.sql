-- A series is read at once and newest first.
ALTER TABLE telemetry SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'device_metric_id',
    timescaledb.compress_orderby = 'ts DESC'
);
