# One image for web, worker, sender, beat and manage.py; entrypoint.sh chooses.
FROM python:3.13-slim

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# .local holds what a container keeps: the secret key, mail of the demo; /archive old readings. Volumes put there inherit
# the owner.
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin iot_hub \
    && install -d -o iot_hub /app /app/.local /archive
WORKDIR /app

# Packages change seldom and code often: in this order a change of code leaves the packages' layer alone.
COPY requirements.txt ./
RUN pip install -r requirements.txt

COPY manage.py Procfile entrypoint.sh ./
COPY scripts ./scripts
COPY iot_hub ./iot_hub
COPY apps ./apps
RUN SECRET_KEY=only-for-this-build ./entrypoint.sh static

USER iot_hub
ENV HOST=0.0.0.0 PORT=8000
EXPOSE 8000

# For web; docker-compose.yml has others for worker, sender and beat. The first start migrates and seeds.
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/healthz', timeout=4)"]

ENTRYPOINT ["./entrypoint.sh"]
CMD ["web"]
