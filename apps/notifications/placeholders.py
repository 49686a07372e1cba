"""All the tags and filters that a message template may use, under the names that Django gave them.

A short list, because whoever writes a template is not trusted with the server: no loops, no includes,
nothing that makes much out of little.
"""

from django.template import Library, defaultfilters
from django.template.defaulttags import comment, do_if
from django.utils.dateparse import parse_datetime

register = Library()
register.tag("if", do_if)
register.tag("comment", comment)
register.filter("default", defaultfilters.default)
register.filter("upper", defaultfilters.upper)
register.filter("lower", defaultfilters.lower)
register.filter("title", defaultfilters.title)
register.filter("truncatechars", defaultfilters.truncatechars)

MAX_DECIMALS = 10
MAX_DATE_FORMAT = 50


@register.filter
def floatformat(value, decimals=-1):
    """`{{ reading.value|floatformat:2 }}`; Django's own writes as many digits as it is asked for."""
    return defaultfilters.floatformat(value, max(-MAX_DECIMALS, min(int(decimals), MAX_DECIMALS)))


@register.filter
def date(value, pattern="Y-m-d H:i:s"):
    """`{{ event.timestamp|date:"H:i" }}`; times come as ISO 8601 text."""
    moment = parse_datetime(str(value))
    return defaultfilters.date(moment, str(pattern)[:MAX_DATE_FORMAT]) if moment else value
