from django.apps import AppConfig


class IotHubConfig(AppConfig):
    name = "iot_hub"

    def ready(self):
        from iot_hub import checks, pipeline  # noqa: F401 - importing registers the checks

        pipeline.connect()
