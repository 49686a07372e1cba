DROP VIEW telemetry_daily;
DROP VIEW telemetry_hourly;
-- Nobody reads the log any more, so nobody shall write it.
DELETE FROM telemetry_rollup_state;
DELETE FROM telemetry_invalidations;
