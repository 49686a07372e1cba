-- For chunks from now on; those that exist keep their length.
SELECT set_chunk_time_interval('telemetry', $interval);
