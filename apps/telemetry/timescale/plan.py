"""What setup_timescaledb does, as data: an edition and a lifecycle go in, a list of steps comes out."""

from dataclasses import dataclass
from pathlib import Path
from string import Template

from apps.telemetry.timescale.edition import Edition
from apps.telemetry.timescale.lifecycle import FOREVER, Interval, Lifecycle

SQL = Path(__file__).parent / "sql"
COMPRESSION = "device_metric_id / ts DESC"


@dataclass(frozen=True, slots=True)
class Step:
    """`state.observe` answers `wanted` under `key` once the step is done. Its SQL may run again any time."""

    key: str
    title: str
    sql: str
    wanted: Interval | str | None

    @property
    def clean_sql(self) -> str:
        """One statement per line, without comments and extra whitespace."""
        code = "\n".join(line for line in self.sql.splitlines() if not line.lstrip().startswith("--"))
        statements = (" ".join(part.split()) for part in code.split(";"))
        tidy = (part.replace("( ", "(").replace(" )", ")") for part in statements if part)
        return "\n".join(f"{part};" for part in tidy)


def sql(name: str, **values: str) -> str:
    return fill(SQL / f"{name}.sql", **values)


def fill(file: Path, **values: str) -> str:
    return Template(file.read_text()).substitute(values)


EXTENSION = Step("extension", "the TimescaleDB extension", sql("extension"), "installed")


def build_plan(edition: Edition, lifecycle: Lifecycle) -> list[Step]:
    steps = [EXTENSION, *_hypertable(lifecycle)]
    if edition is Edition.COMMUNITY:
        # A policy would drop what has not been archived yet.
        policy = None if lifecycle.archive else lifecycle.retention
        steps += [*_compression(lifecycle), _retention("telemetry", policy)]
        steps += _rollups(lifecycle)
    else:
        steps += _own_rollups()
    return steps


def changeover(steps: list[Step]) -> list[Step]:
    """The Community edition's steps where the hub has kept rollups of its own, whose views stand in the way."""
    return [
        Step("rollup tables", "the hub's own rollups out of the way", sql("retire_own_rollups"), None),
        *steps,
        Step("rollup tables", "what they hold in the new ones", sql("take_over_own_rollups"), None),
    ]


def left_out(edition: Edition) -> str:
    """What the edition can't do, and what does it instead; empty when nothing is left out."""
    if edition is Edition.COMMUNITY:
        return ""
    return (
        "Left out, because TimescaleDB's Apache-2 edition does not have them: compression; retention policies and "
        "continuous aggregates (Celery beat drops old chunks and refreshes the rollups instead)."
    )


def _hypertable(lifecycle: Lifecycle) -> list[Step]:
    chunk = lifecycle.chunk_interval
    return [
        Step("hypertable", "the hypertable telemetry", sql("hypertable", interval=chunk.literal), "telemetry"),
        Step("chunk interval", f"chunks of {chunk}", sql("chunk_interval", interval=chunk.literal), chunk),
    ]


def _compression(lifecycle: Lifecycle) -> list[Step]:
    after = lifecycle.compress_after
    removal = sql("remove_compression_policy")
    if after is None:
        return [Step("compress telemetry after", "no compression policy", removal, None)]
    policy = removal + sql("add_compression_policy", interval=after.literal)
    return [
        Step("compression", "compression, one segment per series", sql("compression"), COMPRESSION),
        Step("compress telemetry after", f"compression after {after}", policy, after),
    ]


def _retention(relation: str, after: Interval | None) -> Step:
    key = f"keep {relation} for"
    statements = sql("remove_retention_policy", relation=relation)
    if after is None:
        return Step(key, f"{relation} kept for ever", statements, None)
    statements += sql("add_retention_policy", relation=relation, interval=after.literal)
    return Step(key, f"{relation} kept for {after}", statements, after)


def hours_view(name: str) -> str:
    return sql(name, columns=sql("hour_columns"))


def days_view(name: str) -> str:
    return sql(name, columns=sql("day_columns"))


def _own_rollups() -> list[Step]:
    return [
        Step("rollup tables", "the tables of the rollups", sql("rollup_tables"), "there"),
        Step("telemetry_hourly", "the rollup by hour", hours_view("rollup_hourly_view"), "view"),
        Step("telemetry_daily", "the rollup by day", days_view("rollup_daily_view"), "view"),
    ]


def _rollups(lifecycle: Lifecycle) -> list[Step]:
    raw, hourly, daily = lifecycle.shortest_raw, lifecycle.hourly_retention, lifecycle.daily_retention
    return [
        Step("telemetry_hourly", "the rollup by hour", hours_view("telemetry_hourly"), "continuous"),
        _refresh("telemetry_hourly", kept=(raw, hourly), bucket="1 hour"),
        Step("telemetry_daily", "the rollup by day", days_view("telemetry_daily"), "continuous"),
        _refresh("telemetry_daily", kept=(hourly, daily), bucket="1 day"),
        _retention("telemetry_hourly", hourly),
        _retention("telemetry_daily", daily),
    ]


def _refresh(relation: str, *, kept: tuple[Interval | None, ...], bucket: str) -> Step:
    reach = min(interval or FOREVER for interval in kept)
    statements = sql("refresh_policy", relation=relation, interval=reach.literal, bucket=bucket)
    return Step(f"refresh {relation} back to", f"{relation} refreshed every minute", statements, reach)
