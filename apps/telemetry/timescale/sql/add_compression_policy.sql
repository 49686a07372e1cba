SELECT add_compression_policy('telemetry', compress_after => $interval);
