from django_filters import rest_framework as filters

from apps.notifications.models import NotificationDelivery


class DeliveryFilter(filters.FilterSet):
    event = filters.NumberFilter(field_name="event_id")
    status = filters.MultipleChoiceFilter(choices=NotificationDelivery.Status)

    class Meta:
        model = NotificationDelivery
        fields = ["event", "status"]
