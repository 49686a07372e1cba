"""Writes to chunks that have been compressed."""


def lift_unpack_limit(cursor) -> None:
    """For the rest of the transaction. TimescaleDB unpacks 100,000 rows in a transaction and then refuses, which two
    hundred overwritten readings of as many series can reach; what we write is limited by other means.
    """
    cursor.execute("SELECT set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true)")
