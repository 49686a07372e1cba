-- What compression saves; the function exists on the Community edition only.
SELECT h.hypertable_name AS hypertable, s.before_compression_total_bytes AS bytes_before, s.after_compression_total_bytes AS bytes_after,
    round(s.before_compression_total_bytes::numeric / nullif(s.after_compression_total_bytes, 0), 1) AS ratio
FROM timescaledb_information.hypertables AS h
CROSS JOIN LATERAL hypertable_compression_stats(format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass) AS s
WHERE h.compression_enabled AND s.after_compression_total_bytes IS NOT NULL
