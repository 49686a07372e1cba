import django_filters

from apps.rules.models import Rule


class RuleFilter(django_filters.FilterSet):
    metric = django_filters.CharFilter(field_name="metric__name", lookup_expr="iexact")

    class Meta:
        model = Rule
        fields = ["device", "device_type", "metric", "severity", "is_enabled"]
