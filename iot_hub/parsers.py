import math

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser as DrfJSONParser


class JSONParser(DrfJSONParser):
    """JSON that can be stored and sent back.

    PostgreSQL has no place for NUL in texts, UTF-8 none for half a surrogate pair, JSON none for infinity
    (which is what 1e999 becomes). Refused here, so that no field has to think of it.
    """

    def parse(self, stream, media_type=None, parser_context=None):
        try:
            body = super().parse(stream, media_type, parser_context)
            storable = _is_storable(body)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deeply.") from error
        if not storable:
            raise ParseError("JSON parse error - NUL, unpaired surrogates and infinity can't be stored.")
        return body


def _is_storable(value) -> bool:
    if isinstance(value, dict):
        return all(_is_storable(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return all(_is_storable(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, str) or not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value)
