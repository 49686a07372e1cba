-- What this is: versions decide what else can be known.
SELECT current_database() AS database, current_setting('server_version') AS postgresql,
    (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb,
    CASE current_setting('timescaledb.license', true) WHEN 'timescale' THEN 'Community' WHEN 'apache' THEN 'Apache-2' END AS edition,
    pg_database_size(current_database()) AS bytes
