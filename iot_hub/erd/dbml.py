"""Tables in DBML, for dbdiagram and other readers of it (https://dbml.dbdiagram.io/docs/)."""

import re

from iot_hub.erd.tables import Column, Table


def render(tables: list[Table]) -> str:
    known = {table.name for table in tables}
    blocks = [_table(table, known) for table in tables]
    groups = [_group(app, tables) for app in dict.fromkeys(table.app for table in tables)]
    return "// Written by scripts/generate_erd.sh from the models.\n\n" + "\n\n".join(blocks + groups) + "\n"


def _table(table: Table, known: set[str]) -> str:
    lines = [_column(column, table, known) for column in table.columns]
    indexes = [_index(columns, "unique" if unique else "") for columns, unique in table.indexes]
    if len(table.key) > 1:
        indexes.insert(0, _index(table.key, "pk"))
    if indexes:
        lines += ["", "  indexes {", *indexes, "  }"]
    if table.note:
        lines += ["", f"  Note: {_quoted(table.note)}"]
    return "\n".join([f"Table {table.name} {{", *lines, "}"])


def _column(column: Column, table: Table, known: set[str]) -> str:
    settings = ["pk"] if table.key == (column.name,) else []
    settings += ["unique"] if column.is_unique else []
    settings += [] if column.is_null or column.is_key else ["not null"]
    if column.target and column.target[0] in known:
        settings.append(f"ref: > {'.'.join(column.target)}")
    kind = column.type if re.fullmatch(r"\w+(\(\d+\))?", column.type) else f'"{column.type}"'
    return f"  {column.name} {kind}" + (f" [{', '.join(settings)}]" if settings else "")


def _index(columns: tuple[str, ...], setting: str) -> str:
    return f"    ({', '.join(columns)})" + (f" [{setting}]" if setting else "")


def _group(app: str, tables: list[Table]) -> str:
    names = [f"  {table.name}" for table in tables if table.app == app]
    return "\n".join([f"TableGroup {app} {{", *names, "}"])


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
