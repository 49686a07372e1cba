"""Settings of the hub. Every one that an operator may want to change comes from the environment or `.env`.

`.env.example` lists them all with their defaults.
"""

from datetime import timedelta
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured
from kombu import Queue

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL_DIR = BASE_DIR / ".local"

env = environ.Env()
# The real environment wins, then .env, then what scripts/run wrote about its private services.
env.read_env(BASE_DIR / ".env")
env.read_env(LOCAL_DIR / "services.env")

# ---- the process ---------------------------------------------------------------------------------

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env("SECRET_KEY", default="")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
PUBLIC_URL = env("PUBLIC_URL", default=f"http://127.0.0.1:{env('PORT', default='8000')}").rstrip("/")
# What Prometheus sends from another machine, as a bearer token.
METRICS_TOKEN = env("METRICS_TOKEN", default="")
# Demo accounts with public passwords: switch it off wherever others can reach the hub.
ENABLE_SEED_DATA = env.bool("ENABLE_SEED_DATA", default=True)

INSTALLED_APPS = [
    "iot_hub",
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "apps.users",
    "apps.devices",
    "apps.telemetry",
    "apps.events",
    "apps.rules",
    "apps.notifications",
    "apps.dashboard",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "apps.dashboard.middleware.personal_time",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "iot_hub.urls"
ASGI_APPLICATION = "iot_hub.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# ---- stores --------------------------------------------------------------------------------------

DATABASES = {"default": env.db("DATABASE_URL", default="postgresql://iot_hub:iot_hub@127.0.0.1:5432/iot_hub")}
DATABASES["default"] |= {
    "ENGINE": "django.db.backends.postgresql",
    "CONN_MAX_AGE": env.int("DATABASE_CONN_MAX_AGE", default=600),
    "CONN_HEALTH_CHECKS": True,
    "DISABLE_SERVER_SIDE_CURSORS": env.bool("DISABLE_SERVER_SIDE_CURSORS", default=False),
}
# A database that has gone silent is noticed in seconds, not after the kernel's two hours.
DATABASES["default"]["OPTIONS"] = {
    "connect_timeout": 5,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
} | DATABASES["default"].get("OPTIONS", {})
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env("REDIS_URL", default="redis://127.0.0.1:6379/0")
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"

# ---- workers -------------------------------------------------------------------------------------


def _broker_url(redis_url: str) -> str:
    """Celery spells a Redis on a unix socket otherwise than redis-py; database 1 keeps the queues apart."""
    if redis_url.startswith("unix://"):
        return "redis+socket://" + redis_url.removeprefix("unix://").split("?")[0] + "?virtual_host=1"
    return redis_url


CELERY_BROKER_URL = env("CELERY_BROKER_URL", default="") or _broker_url(REDIS_URL)
CELERY_TASK_IGNORE_RESULT = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 2,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "max_retries": 1,
    "interval_start": 0,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Tasks for which a worker keeps its connection to the database.
CELERY_DB_REUSE_MAX = 1000
CELERY_TIMEZONE = "UTC"
# A worker takes from both unless it is told otherwise. Where sending has a worker of its own, a receiver that is slow
# keeps nobody from judging.
CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in ("celery", "sending")]
CELERY_TASK_ROUTES = {"notifications.send_due": {"queue": "sending"}}
CELERY_BEAT_SCHEDULE = {
    # Sweepers: they find what a lost nudge left behind. On a healthy hub they find nothing.
    "evaluate-watched-readings": {"task": "rules.evaluate_pending", "schedule": 5.0},
    "check-silence": {"task": "rules.check_silence", "schedule": 10.0},
    "raise-severities": {"task": "events.raise_severities", "schedule": 10.0},
    "dispatch-events": {"task": "notifications.dispatch_pending", "schedule": 5.0},
    "send-due-deliveries": {"task": "notifications.send_due", "schedule": 5.0},
    "follow-up-deliveries": {"task": "notifications.follow_up", "schedule": 15.0},
    "expire-commands": {"task": "devices.expire_commands", "schedule": 10.0},
    "refresh-rollups": {"task": "telemetry.refresh_rollups", "schedule": timedelta(minutes=1)},
    "apply-retention": {"task": "telemetry.apply_retention", "schedule": timedelta(hours=1)},
    "settle-rules": {"task": "rules.settle", "schedule": timedelta(hours=1)},
    "forget-rule-changes": {"task": "rules.forget_changes", "schedule": timedelta(hours=1)},
    "forget-catalog-changes": {"task": "devices.forget_catalog_changes", "schedule": timedelta(hours=1)},
    "forget-expired-tokens": {"task": "users.forget_expired_tokens", "schedule": timedelta(days=1)},
}

# ---- people --------------------------------------------------------------------------------------

AUTH_USER_MODEL = "users.User"
AUTHENTICATION_BACKENDS = ["iot_hub.demo.backend.Backend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = LOGOUT_REDIRECT_URL = "login"
LOGIN_REDIRECT_URL = "home"
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=env.int("ACCESS_TOKEN_MINUTES", default=60)),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=env.int("REFRESH_TOKEN_DAYS", default=14)),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    "UPDATE_LAST_LOGIN": True,
    "USER_AUTHENTICATION_RULE": "iot_hub.demo.backend.may_log_in",
    "CHECK_REVOKE_TOKEN": True,
}

UNFOLD = {
    "SITE_TITLE": "IoT Hub",
    "SITE_HEADER": "IoT Hub",
    "SITE_SUBHEADER": "Readings in, alerts out",
    "SITE_SYMBOL": "hub",
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "iot_hub.admin_home.first_page",
    "SIDEBAR": {"show_search": True, "navigation": "iot_hub.admin_site.navigation"},
}

# ---- the API -------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework_simplejwt.authentication.JWTAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["iot_hub.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "iot_hub.pagination.CursorPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "apps.problems.exception_handler",
    "COERCE_DECIMAL_TO_STRING": False,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "IoT Hub",
    "DESCRIPTION": "Takes readings from devices, judges them by rules, remembers events, tells people and machines.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    # The same set stands in several components, so the schema can't name it after one.
    "ENUM_NAME_OVERRIDES": {"CommandStatusEnum": "apps.devices.models.DeviceCommand.Status"},
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "iot_hub.schema.add_problems",
    ],
}

# ---- telemetry -----------------------------------------------------------------------------------


def _per_minute(name: str, default: str) -> int:
    """A rate limit: a number, or `off`, which is kept as 0."""
    text = env(name, default=default).strip().lower() or default
    if text == "off":
        return 0
    if not text.isdecimal():
        raise ImproperlyConfigured(f"{name} is off or a number per minute, not {text!r}.")
    return int(text)


# A key may send up to 10,000 messages a second: more than any device or gateway has to say, less than a process takes
# in, so that one gone wild leaves room for the others.
_KEY_MESSAGES = _per_minute("INGEST_RATE_LIMIT", "600000")

TELEMETRY = {
    "CHUNK_INTERVAL": env("TELEMETRY_CHUNK_INTERVAL", default="7 days"),
    "COMPRESS_AFTER": env("TELEMETRY_COMPRESS_AFTER", default="30 days"),
    "RETENTION": env("TELEMETRY_RETENTION", default="1 year"),
    "HOURLY_RETENTION": env("TELEMETRY_HOURLY_RETENTION", default="2 years"),
    "DAILY_RETENTION": env("TELEMETRY_DAILY_RETENTION", default=""),
    "ARCHIVE": env.bool("TELEMETRY_ARCHIVE", default=False),
    "ARCHIVE_DIR": Path(env("ARCHIVE_DIR", default=str(LOCAL_DIR / "archive"))),
    "AUTO_REGISTER": env.bool("TELEMETRY_AUTO_REGISTER", default=True),
    "MAX_BODY_BYTES": env.int("INGEST_MAX_BODY_BYTES", default=16 * 1024 * 1024),
    "MAX_QUEUED_READINGS": env.int("INGEST_MAX_QUEUED_READINGS", default=500_000),
    # Connections that commit in each web process: two in all keep PostgreSQL busy, more make groups smaller.
    "WRITER_THREADS": 2 if env.int("WEB_WORKERS", default=1) == 1 else 1,
    "MAX_METRICS_PER_DEVICE": env.int("TELEMETRY_MAX_METRICS_PER_DEVICE", default=500),
    "MAX_FUTURE_SECONDS": env.int("INGEST_MAX_FUTURE_SECONDS", default=600),
    "KEY_MESSAGES_PER_MINUTE": _KEY_MESSAGES,
    "KEY_READINGS_PER_MINUTE": _per_minute("INGEST_RATE_LIMIT_READINGS", "6000000" if _KEY_MESSAGES else "off"),
    "OWNER_MESSAGES_PER_MINUTE": _per_minute("INGEST_OWNER_RATE_LIMIT", "off"),
    "OWNER_READINGS_PER_MINUTE": _per_minute("INGEST_OWNER_RATE_LIMIT_READINGS", "off"),
}

# ---- telling people ------------------------------------------------------------------------------


NOTIFICATIONS = {
    "ALLOWED_PRIVATE_HOSTS": env.list("WEBHOOK_ALLOWED_PRIVATE_HOSTS", default=[]),
    "ALLOWED_CHAT_HOSTS": env.list("CHAT_ALLOWED_HOSTS", default=[]),
    "TIMEOUT": env.int("NOTIFICATION_TIMEOUT", default=10),
    "GROUP_WAIT": env.int("NOTIFICATION_GROUP_WAIT", default=30),
    "GROUP_INTERVAL": env.int("NOTIFICATION_GROUP_INTERVAL", default=300),
    "DIGEST_ABOVE": env.int("NOTIFICATION_DIGEST_ABOVE", default=60),
    "SMS_URL": env("SMS_URL", default=""),
}


def _mailer(url: str) -> dict:
    """A mailer from `smtp://user:password@host:port` (`smtp+tls`, `smtp+ssl`).

    Without a mail server, messages land as files in .local/mail, where a newcomer can read them.
    """
    if not url:
        return {
            "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "OPTIONS": {"file_path": str(LOCAL_DIR / "mail")},
        }
    parts = env.email_url_config(url)
    options = {
        "host": parts["EMAIL_HOST"],
        "port": parts["EMAIL_PORT"],
        "username": parts["EMAIL_HOST_USER"],
        "password": parts["EMAIL_HOST_PASSWORD"],
        "use_tls": parts.get("EMAIL_USE_TLS", False),
        "use_ssl": parts.get("EMAIL_USE_SSL", False),
        "timeout": NOTIFICATIONS["TIMEOUT"],
    }
    return {"BACKEND": parts["EMAIL_BACKEND"], "OPTIONS": options}


MAILERS = {"default": _mailer(env("EMAIL_URL", default=""))}
DEFAULT_FROM_EMAIL = env("DEFAULT_FROM_EMAIL", default="IoT Hub <iot-hub@localhost>")

# ---- the rest ------------------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "iot_hub.formats"  # times that sort and that nobody misreads

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
