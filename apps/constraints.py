"""What a broken constraint means to the caller.

The database is the judge, also between two requests that race, so a rule that a constraint states is not
checked a second time in serializers: its IntegrityError becomes the 400 here, at the field that it is about.
"""

from django.apps import apps
from django.core.exceptions import NON_FIELD_ERRORS, ObjectNotUpdated
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import IntegrityError, models
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound, ValidationError
from rest_framework.fields import get_error_detail
from rest_framework.settings import api_settings

UNIQUE_VIOLATION, CHECK_VIOLATION, FOREIGN_KEY_VIOLATION = "23505", "23514", "23503"


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_detail = "Something that this refers to was removed meanwhile, or is still in use."
    default_code = "conflict"


class ConstraintErrors:
    """For views: what services and the database refuse is told as the API tells its errors."""

    def handle_exception(self, exc: Exception):
        return super().handle_exception(as_api_error(exc) or exc)


def as_api_error(exc: Exception) -> APIException | None:
    """The API's form of a model's or service's ValidationError or of an IntegrityError; None: neither."""
    if isinstance(exc, DjangoValidationError):
        return _from_validation_error(exc)
    if isinstance(exc, IntegrityError):
        return _from_integrity_error(exc)
    # Somebody deleted the row between our reading and writing it.
    return NotFound() if isinstance(exc, ObjectNotUpdated) else None


def _from_validation_error(exc: DjangoValidationError) -> ValidationError:
    detail = get_error_detail(exc)
    if isinstance(detail, dict) and NON_FIELD_ERRORS in detail:
        detail[api_settings.NON_FIELD_ERRORS_KEY] = detail.pop(NON_FIELD_ERRORS)
    return ValidationError(detail)


def _from_integrity_error(exc: IntegrityError) -> APIException | None:
    diagnosis = getattr(exc.__cause__, "diag", None)
    if diagnosis is None:
        return None
    if diagnosis.sqlstate == FOREIGN_KEY_VIOLATION:
        return Conflict()
    model = _model_of(diagnosis.table_name)
    if model is None or diagnosis.sqlstate not in (UNIQUE_VIOLATION, CHECK_VIOLATION):
        return None
    field, message = _explain(model, diagnosis.constraint_name)
    code = "unique" if diagnosis.sqlstate == UNIQUE_VIOLATION else "invalid"
    return ValidationError({field: [message]}, code=code)


def _model_of(table: str) -> type[models.Model] | None:
    return next((model for model in apps.get_models() if model._meta.db_table == table), None)


def _explain(model: type[models.Model], name: str) -> tuple[str, str]:
    """The field that a constraint is about, and what to say."""
    for constraint in model._meta.constraints:
        if constraint.name == name:
            return _field_of(model, constraint), constraint.get_violation_error_message()
    # `unique=True` on a field: its constraint is called <table>_<column>_….
    for field in model._meta.concrete_fields:
        if field.unique and name.startswith(f"{model._meta.db_table}_{field.column}_"):
            error = model().unique_error_message(model, (field.name,))
            return field.name, error.message % (error.params or {})
    return api_settings.NON_FIELD_ERRORS_KEY, "This is not allowed."


def _field_of(model: type[models.Model], constraint: models.BaseConstraint) -> str:
    """Unique within something: the last field (`parent, name` is about the name). A check: the first one."""
    if isinstance(constraint, models.CheckConstraint):
        used = constraint.condition.referenced_base_fields
        return next(field.name for field in model._meta.concrete_fields if field.name in used)
    if constraint.fields:
        return constraint.fields[-1]
    sources = [source for expression in constraint.expressions for source in expression.flatten()]
    return next(source.name for source in sources if isinstance(source, models.F))
