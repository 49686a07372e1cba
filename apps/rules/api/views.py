from datetime import datetime

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.response import Response

from apps.rules import backtest, explain, services
from apps.rules.api.filters import RuleFilter
from apps.rules.api.serializers import RuleSerializer, RuleStateSerializer
from apps.rules.api.trials import (
    BacktestSerializer,
    DraftRuleSerializer,
    ExplanationSerializer,
    QuestionSerializer,
    RangeSerializer,
)
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

    def perform_update(self, serializer):
        rule = serializer.instance
        for name, value in serializer.validated_data.items():
            setattr(rule, name, value)
        serializer.instance = services.save_rule(rule=rule, now=timezone.now())

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

    @extend_schema(request=RangeSerializer, responses=BacktestSerializer)
    @action(detail=True, methods=["post"], pagination_class=None, filterset_class=None)
    def backtest(self, request, pk=None):
        """What the rule, as it is now, would have done in that time. Nothing is written."""
        rule = self.get_object()
        asked = RangeSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        return Response(_backtest(rule, **asked.validated_data))

    @extend_schema(operation_id="rules_backtest_draft", request=DraftRuleSerializer, responses=BacktestSerializer)
    @action(detail=False, methods=["post"], url_path="backtest", url_name="backtest-draft", pagination_class=None)
    def backtest_draft(self, request):
        """What a rule that is not saved would have done in that time. Nothing is written."""
        asked = DraftRuleSerializer(data=request.data, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        fields = dict(asked.validated_data)
        start, end = fields.pop("start"), fields.pop("end")
        rule = Rule(**fields)
        rule.owner = self._owner(rule)
        return Response(_backtest(rule, start, end, is_saved=False))

    @extend_schema(parameters=[QuestionSerializer], responses=ExplanationSerializer)
    @action(detail=True, pagination_class=None, filterset_class=None)
    def explain(self, request, pk=None):
        """Why the rule did, or did not, open an event on a device at a time."""
        rule = self.get_object()
        asked = QuestionSerializer(data=request.query_params, context=self.get_serializer_context())
        asked.is_valid(raise_exception=True)
        device = asked.validated_data.get("device", rule.device)
        if device is None:
            raise ValidationError({"device": "The rule is for a type: name the device."}, code="required")
        at = asked.validated_data.get("at", timezone.now())
        return Response(ExplanationSerializer(explain.explain(rule=rule, device=device, at=at)).data)

    def _owner(self, rule: Rule):
        if rule.device is not None:
            return rule.device.owner
        return None if self.request.user.is_admin else self.request.user


def _backtest(rule: Rule, start: datetime, end: datetime, *, is_saved: bool = True) -> dict:
    try:
        done = backtest.run(rule=rule, start=start, end=end, now=timezone.now())
    except backtest.TooMuch as error:
        raise ValidationError({"start": str(error)}, code="too_large") from None
    answer = {
        "start": start,
        "end": end,
        "readings": done.readings,
        "openings": done.openings,
        "suppressed_by_cooldown": done.suppressed_by_cooldown,
        "absorbed_by_hysteresis": done.absorbed_by_hysteresis,
        "intervals": done.intervals[: backtest.MAX_LISTED],
        "would_send": backtest.would_send(rule, done.openings),
        "differences": backtest.differences(rule, done.intervals, start, end) if is_saved else None,
    }
    return BacktestSerializer(answer).data
