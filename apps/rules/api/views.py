from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.response import Response

from apps.rules import advice, services
from apps.rules.api.filters import RuleFilter
from apps.rules.api.serializers import RuleSerializer, RuleStateSerializer
from apps.rules.models import Rule


class RuleViewSet(viewsets.ModelViewSet):
    """Rules of one's own devices; administrators see and edit all."""

    queryset = Rule.objects.none()
    serializer_class = RuleSerializer
    filterset_class = RuleFilter

    def get_queryset(self):
        return Rule.objects.visible_to(self.request.user).select_related("metric", "device", "device__owner")

    def perform_create(self, serializer):
        rule = Rule(**serializer.validated_data)
        rule.owner = None if self.request.user.is_admin else self.request.user
        serializer.instance = services.save_rule(rule=rule, now=timezone.now())
        rule.warnings = advice.warnings_about(rule)

    def perform_update(self, serializer):
        rule = serializer.instance
        for name, value in serializer.validated_data.items():
            setattr(rule, name, value)
        serializer.instance = services.save_rule(rule=rule, now=timezone.now())
        rule.warnings = advice.warnings_about(rule)

    def perform_destroy(self, rule):
        if rule.owner_id is None and not self.request.user.is_admin:
            raise PermissionDenied
        services.delete_rule(rule=rule, now=timezone.now())

    @extend_schema(responses=RuleStateSerializer(many=True))
    @action(detail=True, pagination_class=None, filterset_class=None)
    def state(self, request, pk=None):
        """Where the rule stands with each series that it has judged."""
        states = self.get_object().states.select_related("device_metric__metric").order_by("device_metric_id")
        return Response(RuleStateSerializer(states, many=True).data)
