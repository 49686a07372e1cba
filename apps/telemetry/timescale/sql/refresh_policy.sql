-- The refresh reaches back as far as its source is kept, never farther: it would take what has been dropped
-- for deleted, and the rollup would forget it too. It recomputes only what has changed, so that late readings are in
-- after a minute; beat makes it less often where that takes long (rollups/sql/pace.sql).
SELECT remove_continuous_aggregate_policy('$relation', if_exists => true);
SELECT add_continuous_aggregate_policy(
    '$relation',
    start_offset => $interval,
    end_offset => INTERVAL '$bucket',
    schedule_interval => INTERVAL '1 minute'
);
