"""The table, the ratios and the JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median_low

from target import Result

LATENCIES = ("mean ms", "p50 ms", "p99 ms")
COLUMNS = ("part", "proc", "conn", "requests/s", "values/s", *LATENCIES, "CPU µs/value", "failed", "web MB")


@dataclass(frozen=True)
class Ratio:
    """`target` is the least wanted, or the most where `is_most`; None where nothing was promised."""

    title: str
    value: float
    target: float | None = None
    is_most: bool = False

    @property
    def is_reached(self) -> bool:
        return self.target is None or (self.value <= self.target if self.is_most else self.value >= self.target)


def middle_of_rounds(results: list[Result]) -> list[Result]:
    """Of the same measurement in several rounds the one with the middle rate."""
    groups: dict[tuple, list[Result]] = {}
    for result in results:
        groups.setdefault(result.key, []).append(result)
    return [_middle(group) for group in groups.values()]


def ratios(results: list[Result]) -> list[Ratio]:
    """Of the best rows, as each side has its own best number of connections."""
    best = _Best(results)
    return [ratio for ratio in (*_batch_ratios(best), *_single_ratios(best)) if ratio is not None]


def _batch_ratios(best: "_Best") -> Iterator[Ratio | None]:
    for part, processes in best.batch_rows():
        ours, told = best.values(part, processes), _told(part, processes)
        of_copy = 0.9 if (part, processes) == ("batches", 1) else None
        of_influx = 0.5 if processes > 1 else None
        yield _ratio(f"{told} / copy-1", ours, best.values("copy-1"), of_copy)
        yield _ratio(f"{told} / copy-2", ours, best.values("copy-2"))
        yield _ratio(f"{told} / InfluxDB", ours, best.values("influx batches"), of_influx)
        of_naive = 15 if (part, processes) == ("batches", 1) else None
        yield _ratio(f"{told} / naive, as many", ours, best.values("naive batches", processes), of_naive)


def _single_ratios(best: "_Best") -> Iterator[Ratio | None]:
    row = best.row("single")
    if row is not None:
        yield Ratio("single, requests/s", row.requests, 8000)
        yield Ratio("single, p99 in ms", row.p99_ms, 50, is_most=True)
        yield _ratio("single / InfluxDB", row.values, best.values("influx single"), 0.5)
        yield _ratio("single / naive", row.values, best.values("naive single"), 15)


def table(results: Iterable[Result]) -> str:
    rows = [COLUMNS, *(_cells(result) for result in results)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    lines = [_aligned(rows[0], widths), "-" * (sum(widths) + 2 * len(widths))]
    for row, result in zip(rows[1:], results, strict=True):
        lines.append(f"{_aligned(row, widths)}  {_aside(result)}".rstrip())
    return "\n".join(lines)


def ratio_table(found: list[Ratio]) -> str:
    width = max((len(ratio.title) for ratio in found), default=0)
    return "\n".join(f"{ratio.title:<{width}}  {_number(ratio.value):>10}{_goal(ratio)}" for ratio in found)


class _Best:
    def __init__(self, results: list[Result]):
        self._results = results

    def batch_rows(self) -> list[tuple[str, int]]:
        return sorted({(row.part, row.processes) for row in self._results if row.part in ("batches", "lines")})

    def row(self, part: str, processes: int | None = None) -> Result | None:
        rows = [row for row in self._results if row.part == part and processes in (None, row.processes)]
        return max(rows, key=lambda row: row.values, default=None)

    def values(self, part: str, processes: int | None = None) -> float | None:
        row = self.row(part, processes)
        return row and row.values


def _middle(group: list[Result]) -> Result:
    middle = median_low(sorted(result.values for result in group))
    return next(result for result in group if result.values == middle)


def _ratio(title: str, ours: float | None, theirs: float | None, target: float | None = None) -> Ratio | None:
    return Ratio(title, ours / theirs, target) if ours and theirs else None


def _told(part: str, processes: int) -> str:
    return f"{part}, {processes} process" + ("es" if processes > 1 else "")


def _cells(result: Result) -> tuple[str, ...]:
    memory = f"{result.memory_before.rss:.0f} → {result.memory_after.rss:.0f}" if result.memory_after else ""
    numbers = (result.requests, result.values, result.mean_ms, result.p50_ms, result.p99_ms, result.cost)
    return (
        result.part,
        str(result.processes or ""),
        str(result.connections or ""),
        *("" if number is None else _number(number) for number in numbers),
        str(result.failed),
        memory,
    )


def _aside(result: Result) -> str:
    """CPU in percent of one core, and whatever is to be told of the row."""
    cpu = " ".join(f"{name} {used:.0f}" for name, used in result.cpu.items())
    behind = f"{result.not_judged:,} batches not judged yet" if result.not_judged else ""
    return "; ".join(part for part in (f"CPU % {cpu}" if cpu else "", behind, result.note) if part)


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    first, *rest = (f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
    return "  ".join([first.strip().ljust(widths[0]), *rest])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _goal(ratio: Ratio) -> str:
    if ratio.target is None:
        return ""
    sign = "≤" if ratio.is_most else "≥"
    return f"   {'✓' if ratio.is_reached else '✗'} {sign} {ratio.target:,g}"
