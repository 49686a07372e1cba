"""The SQL of aggregates. Buckets are found by binary search in their edges, so that any calendar will do."""

from apps.telemetry.aggregates.grid import Grid
from apps.telemetry.aggregates.sources import RAW, Piece
from apps.telemetry.reads.filters import ReadingFilter

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
NUMBER = "coalesce(value_numeric, value_bool::int)"
# True and false count as 1 and 0.
OF_READINGS = {
    "avg": f"avg({NUMBER})",
    "min": f"min({NUMBER})",
    "max": f"max({NUMBER})",
    "sum": f"sum({NUMBER})",
    "count": "count(*)",
    "first": f"first({NUMBER}, ts)",
    "last": f"last({NUMBER}, ts)",
    "stddev": f"stddev_samp({NUMBER})",
} | {name: f"percentile_cont({share}) WITHIN GROUP (ORDER BY {NUMBER})" for name, share in PERCENTILES.items()}
OF_TEXTS = {"first": "first(value_str, ts)", "last": "last(value_str, ts)"}
OF_PARTS = {
    "avg": "sum(sum) / nullif(sum(count), 0)",
    "min": "min(min)",
    "max": "max(max)",
    "sum": "sum(sum)",
    "count": "sum(count)::bigint",
    "first": "first(first, bucket)",
    "last": "last(last, bucket)",
    # Of squares: for values much larger than their spread the last digits are lost; from readings they are not.
    "stddev": "CASE WHEN sum(count) > 1 THEN"
    " sqrt(greatest(sum(sum_sq) - sum(sum) ^ 2 / sum(count), 0) / (sum(count) - 1)) END",
}
# Where a bucket is one unit of the rollup, its row says it all.
OF_UNIT = {
    "avg": "sum / nullif(count, 0)",
    "min": "min",
    "max": "max",
    "sum": "sum",
    "count": "count",
    "first": "first",
    "last": "last",
    "stddev": "CASE WHEN count > 1 THEN sqrt(greatest(sum_sq - sum ^ 2 / count, 0) / (count - 1)) END",
}
FUNCTIONS = tuple(OF_READINGS)

_READINGS = """
    SELECT device_metric_id, width_bucket(ts, {buckets}) - 1 AS place, {columns}
    FROM telemetry WHERE device_metric_id = ANY(%(series)s){conditions}
    GROUP BY 1, 2 ORDER BY 1, 2
"""
_PARTS = """
    SELECT device_metric_id, width_bucket(bucket, {buckets}) - 1 AS place, {columns}
    FROM ({parts}) AS parts (device_metric_id, bucket, count, sum, sum_sq, min, max, first, last)
    GROUP BY 1, 2
"""
_UNITS = """
    SELECT device_metric_id, width_bucket(bucket, {buckets}) - 1 AS place, {columns}
    FROM ({parts}) AS units
"""
_OF_ROLLUP = """
        SELECT device_metric_id, bucket, count, sum, sum_sq, min, max, first, last
        FROM {relation} WHERE device_metric_id = ANY(%(series)s)
            AND bucket >= %(start_{n})s::timestamptz AND bucket < %(end_{n})s::timestamptz"""
_OF_EDGE = f"""
        SELECT device_metric_id, ts, 1, {NUMBER}, {NUMBER} * {NUMBER}, {NUMBER}, {NUMBER}, {NUMBER}, {NUMBER}
        FROM telemetry WHERE device_metric_id = ANY(%(series)s)
            AND ts >= %(start_{{n}})s::timestamptz AND ts < %(end_{{n}})s::timestamptz"""


def of_readings(series_ids: list[int], grid: Grid, where: ReadingFilter, columns: list[str]) -> tuple[str, dict]:
    """Rows (series id, index of the bucket, value of each column), of buckets that hold readings."""
    conditions, params = where.sql()
    buckets, edges = _edges(grid)
    sql = _READINGS.format(columns=", ".join(columns), conditions=conditions, buckets=buckets)
    return sql, params | edges | {"series": series_ids}


def of_pieces(series_ids: list[int], grid: Grid, pieces: list[Piece], functions: list[str]) -> tuple[str, dict]:
    """The same from rollups, and from readings where a rollup's units reach beyond what was asked for."""
    buckets, params = _edges(grid)
    params["series"] = series_ids
    parts, units = [], []
    for n, piece in enumerate(pieces):
        template = _OF_EDGE if piece.source is RAW else _OF_ROLLUP
        # A unit is as long as a bucket and lies within one, so that the bucket holds nothing else.
        alike = units if piece.source.unit == grid.step else parts
        alike.append(template.format(relation=piece.source.relation, n=n))
        params |= {f"start_{n}": piece.start, f"end_{n}": piece.end}
    union = " UNION ALL ".join
    statements = [
        template.format(columns=", ".join(of[name] for name in functions), parts=union(some), buckets=buckets)
        for template, of, some in ((_PARTS, OF_PARTS, parts), (_UNITS, OF_UNIT, units))
        if some
    ]
    return f"{union(statements)} ORDER BY 1, 2", params


def _edges(grid: Grid) -> tuple[str, dict]:
    """When buckets begin, as an array. A thousand times take a millisecond to send, and next to nothing to count up."""
    if step := grid.step:
        counted = "array(SELECT generate_series(%(first)s::timestamptz, %(last)s::timestamptz, %(step)s::interval))"
        return counted, {"first": grid.edges[0], "last": grid.edges[-2], "step": step}
    return "%(buckets)s::timestamptz[]", {"buckets": grid.buckets}
