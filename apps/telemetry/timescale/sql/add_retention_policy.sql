SELECT add_retention_policy('$relation', drop_after => $interval);
