"""The hub's tables as the models describe them."""

from dataclasses import dataclass

from django.apps import apps
from django.db import connection, models

# From who to told, as the apps build on each other; apps that are not listed follow.
ORDER = ("users", "devices", "telemetry", "rules", "events", "notifications")


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    is_key: bool
    is_null: bool
    is_unique: bool
    target: tuple[str, str] | None  # table and column that it refers to


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    app: str
    note: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    indexes: tuple[tuple[tuple[str, ...], bool], ...]  # columns, and whether unique


def read_tables() -> list[Table]:
    """Of the hub's own apps, by app and then in the order of the models."""
    ours = [config for config in apps.get_app_configs() if config.name.startswith("apps.")]
    ours.sort(key=lambda config: ORDER.index(config.label) if config.label in ORDER else len(ORDER))
    return [_table(model, config.label) for config in ours for model in config.get_models() if model._meta.managed]


def _table(model: type[models.Model], app: str) -> Table:
    key = tuple(field.column for field in model._meta.pk_fields)
    fields = [field for field in model._meta.local_fields if field.concrete and field.column]
    fields.sort(key=lambda field: key.index(field.column) if field.column in key else len(key))
    columns = tuple(_column(field, key) for field in fields)
    note = "" if (model.__doc__ or "").startswith(f"{model.__name__}(") else (model.__doc__ or "").partition("\n")[0]
    return Table(model._meta.db_table, app, note, columns, key, _indexes(model))


def _column(field: models.Field, key: tuple[str, ...]) -> Column:
    target = None
    if field.is_relation:
        target = (field.related_model._meta.db_table, field.target_field.column)
    kind = field.db_type(connection) or ""
    return Column(field.column, kind, field.column in key, field.null, field.unique and not field.primary_key, target)


def _indexes(model: type[models.Model]) -> tuple[tuple[tuple[str, ...], bool], ...]:
    """Those over plain columns; DBML can't say expressions or conditions."""
    meta, found = model._meta, []
    for constraint in meta.constraints:
        if isinstance(constraint, models.UniqueConstraint) and constraint.fields and constraint.condition is None:
            found.append((constraint.fields, True))
    for index in meta.indexes:
        if index.fields and index.condition is None:
            found.append((tuple(name.lstrip("-") for name in index.fields), False))
    return tuple((tuple(meta.get_field(name).column for name in names), unique) for names, unique in found)
