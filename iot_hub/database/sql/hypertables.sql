-- How many chunks there are, and from when to when.
SELECT h.hypertable_name AS hypertable, d.time_interval::text AS chunk_interval, count(c.chunk_name) AS chunks,
    count(*) FILTER (WHERE c.is_compressed) AS compressed, min(c.range_start) AS oldest, max(c.range_end) AS newest
FROM timescaledb_information.hypertables AS h
JOIN timescaledb_information.dimensions AS d USING (hypertable_schema, hypertable_name)
LEFT JOIN timescaledb_information.chunks AS c USING (hypertable_schema, hypertable_name)
GROUP BY 1, 2 ORDER BY 1
