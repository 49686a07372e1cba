-- The largest tables; a hypertable is as large as its chunks, which its own relation doesn't know.
SELECT c.relname AS "table", sizes.bytes, sizes.index_bytes, sizes.readings AS estimated_rows
FROM pg_class AS c
LEFT JOIN timescaledb_information.hypertables AS h ON h.hypertable_name = c.relname AND h.hypertable_schema = current_schema()
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN h.hypertable_name IS NULL THEN pg_total_relation_size(c.oid) ELSE hypertable_size(c.oid) END AS bytes,
        CASE WHEN h.hypertable_name IS NULL THEN pg_indexes_size(c.oid)
            ELSE (SELECT sum(index_bytes)::bigint FROM hypertable_detailed_size(c.oid)) END AS index_bytes,
        CASE WHEN h.hypertable_name IS NULL THEN greatest(c.reltuples, 0)::bigint ELSE approximate_row_count(c.oid) END AS readings
) AS sizes
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'
ORDER BY sizes.bytes DESC LIMIT 15
