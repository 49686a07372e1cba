"""Tables as a picture: one column of boxes per app, a line from each reference to the table that it names."""

from dataclasses import dataclass
from html import escape

from iot_hub.erd.tables import Column, Table

WIDTH, ROW, HEAD = 232, 17, 26
GAP_X, GAP_Y, TOP, EDGE = 96, 22, 64, 28
TALLEST = 1000  # pixels of boxes in one column, before an app gets another
COLOURS = ("#3a6ea5", "#2e7d5b", "#8a5a00", "#9c3d54", "#5b4b9a", "#00727a", "#6b6b00", "#7a3e9d")
STYLE = (
    "text{font:12px system-ui,'DejaVu Sans',sans-serif;fill:#222}.head{font-weight:600;fill:#fff}"
    ".key{font-weight:600}.type{fill:#777;font-size:10px;text-anchor:end}.app{font-size:15px;font-weight:600}"
    ".line{fill:none;stroke-width:1.3;opacity:.6}"
)


@dataclass(frozen=True, slots=True)
class Box:
    table: Table
    x: int
    y: int
    colour: str

    @property
    def height(self) -> int:
        return HEAD + ROW * len(self.table.columns) + 6

    def row(self, number: int) -> int:
        """The middle of a column's line."""
        return self.y + HEAD + ROW * number + ROW // 2 + 2


def render(tables: list[Table]) -> str:
    boxes, titles = _place(tables)
    by_name = {box.table.name: box for box in boxes}
    width = max(box.x for box in boxes) + WIDTH + 2 * EDGE
    height = max(box.y + box.height for box in boxes) + EDGE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<title>The tables of IoT Hub</title><style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        *titles,
        *(line for box in boxes for line in _lines(box, by_name)),
        *(part for box in boxes for part in _box(box)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _place(tables: list[Table]) -> tuple[list[Box], list[str]]:
    boxes, titles, x, y = [], [], EDGE - WIDTH - GAP_X, TOP
    apps = list(dict.fromkeys(table.app for table in tables))
    for number, app in enumerate(apps):
        colour = COLOURS[number % len(COLOURS)]
        y = TALLEST + 1  # an app begins a column
        for table in (table for table in tables if table.app == app):
            box = Box(table, x, y, colour)
            if y > TOP and y + box.height > TALLEST:
                x, y = x + WIDTH + GAP_X, TOP
                if table is next(each for each in tables if each.app == app):
                    titles.append(f'<text class="app" x="{x}" y="40" style="fill:{colour}">{escape(app)}</text>')
                box = Box(table, x, y, colour)
            boxes.append(box)
            y += box.height + GAP_Y
    return boxes, titles


def _box(box: Box) -> list[str]:
    frame = f'x="{box.x}" y="{box.y}" width="{WIDTH}" rx="5"'
    parts = [
        f'<rect {frame} height="{box.height}" fill="#fff" stroke="{box.colour}"/>',
        f'<rect {frame} height="{HEAD}" fill="{box.colour}"/>',
        f'<text class="head" x="{box.x + 9}" y="{box.y + 18}">{escape(box.table.name)}</text>',
    ]
    for number, column in enumerate(box.table.columns):
        y = box.row(number) + 4
        parts.append(f'<text{_class(column)} x="{box.x + 9}" y="{y}">{escape(column.name)}</text>')
        parts.append(f'<text class="type" x="{box.x + WIDTH - 9}" y="{y}">{escape(_short(column))}</text>')
    return parts


def _class(column: Column) -> str:
    return ' class="key"' if column.is_key else ""


def _short(column: Column) -> str:
    words = {"timestamp with time zone": "timestamptz", "double precision": "float8", "character varying": "varchar"}
    kind = column.type
    for word, short in words.items():
        kind = kind.replace(word, short)
    return kind + ("?" if column.is_null else "")


def _lines(box: Box, by_name: dict[str, Box]) -> list[str]:
    lines = []
    for number, column in enumerate(box.table.columns):
        target = by_name.get(column.target[0]) if column.target else None
        if target is not None:
            lines.append(_line(box, box.row(number), target))
    return lines


def _line(box: Box, y: int, target: Box) -> str:
    """To the left where the target lies there, else round the right side."""
    end = target.y + HEAD // 2
    if target.x < box.x:
        start_x, end_x = box.x, target.x + WIDTH
        bend = max(40, (start_x - end_x) // 3)
        curve = f"M{start_x} {y} C{start_x - bend} {y} {end_x + bend} {end} {end_x} {end}"
    elif target.x > box.x:
        start_x, end_x = box.x + WIDTH, target.x
        curve = f"M{start_x} {y} C{start_x + 60} {y} {end_x - 60} {end} {end_x} {end}"
    else:
        side = box.x + WIDTH
        curve = f"M{side} {y} C{side + 60} {y} {side + 60} {end} {side} {end}"
    return f'<path class="line" d="{curve}" stroke="{target.colour}"/>'
