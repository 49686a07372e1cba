from django.apps import AppConfig


class IotHubConfig(AppConfig):
    name = "iot_hub"

    def ready(self):
        from iot_hub import checks, metrics, pipeline  # noqa: F401 - importing registers checks and signals

        pipeline.connect()
