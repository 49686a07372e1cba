-- By itself, ahead of the rest: a CREATE EXTENSION that is rolled back leaves its session unusable.
CREATE EXTENSION IF NOT EXISTS timescaledb;
