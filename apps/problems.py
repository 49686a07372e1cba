"""Errors as the API tells them: RFC 9457 problem details, one shape for every path.

{"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "…",
 "errors": [{"field": "name", "code": "required", "message": "This field is required."}]}
"""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import ProtectedError, RestrictedError
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler
from rest_framework.views import set_rollback

CONTENT_TYPE = "application/problem+json"


def problem(status: int, detail: str, errors: list[dict] | None = None) -> dict[str, Any]:
    """The body of an error answer; `errors` has one entry per field that is wrong."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return body | {"errors": errors} if errors else body


def exception_handler(exc: Exception, context: dict) -> Response | None:
    """DRF's hook: any API exception, Django's 404 and 403, and rows that others still need (409)."""
    if isinstance(exc, (ProtectedError, RestrictedError)):
        set_rollback()
        blockers = exc.protected_objects if isinstance(exc, ProtectedError) else exc.restricted_objects
        detail = f"Still in use by: {_names(blockers)}."
        return Response(problem(409, detail), status=409, content_type=CONTENT_TYPE)
    response = drf_exception_handler(exc, context)
    if response is None:
        return None
    detail, errors = _describe(exc)
    response.data = problem(response.status_code, detail, errors)
    response.content_type = CONTENT_TYPE
    return response


def server_error(request: HttpRequest) -> JsonResponse:
    """`handler500`: no details of ours leave the house."""
    return JsonResponse(
        problem(500, "The hub failed on this request; its log has the details."),
        status=500,
        content_type=CONTENT_TYPE,
    )


def not_found(request: HttpRequest, exception: Exception) -> JsonResponse:
    """`handler404`."""
    return JsonResponse(problem(404, "There is nothing at this path."), status=404, content_type=CONTENT_TYPE)


def _names(objects) -> str:
    names = sorted({obj._meta.verbose_name for obj in objects})
    return ", ".join(names)


def _describe(exc: Exception) -> tuple[str, list[dict] | None]:
    if isinstance(exc, exceptions.ValidationError):
        errors = _flatten(exc.get_full_details())
        return (errors[0]["message"] if len(errors) == 1 else "Several fields are wrong."), errors
    if isinstance(exc, exceptions.APIException):
        return _first_text(exc.detail), None
    if isinstance(exc, Http404):
        return "Not found.", None
    if isinstance(exc, PermissionDenied):
        return "You do not have permission to perform this action.", None
    return str(exc), None


def _first_text(detail) -> str:
    if isinstance(detail, dict):
        return str(detail.get("detail") or next(iter(detail.values())))
    return str(detail[0] if isinstance(detail, list) else detail)


def _flatten(details, field: str = "") -> list[dict]:
    """DRF's nested error details as a flat list; nested fields are joined by dots."""
    if isinstance(details, dict) and set(details) == {"message", "code"}:
        name = "" if field == "non_field_errors" else field
        return [{"field": name or None, "code": details["code"], "message": str(details["message"])}]
    items = details.items() if isinstance(details, dict) else _numbered(details)
    flat = []
    for key, value in items:
        name = ".".join(part for part in (field, str(key)) if part and part != "non_field_errors")
        flat += _flatten(value, name)
    return flat


def _numbered(details: list):
    """A list of messages belongs to its field; a list of nested objects is numbered."""
    nested = any(isinstance(item, dict) and set(item) != {"message", "code"} for item in details)
    return [(index if nested else "", item) for index, item in enumerate(details)]
