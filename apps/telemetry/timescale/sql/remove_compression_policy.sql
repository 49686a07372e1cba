SELECT remove_compression_policy('telemetry', if_exists => true);
