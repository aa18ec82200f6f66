FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY producer producer
COPY worker worker
COPY store store
RUN python -m venv /opt/sluice \
 && /opt/sluice/bin/pip install --quiet --disable-pip-version-check --no-cache-dir --constraint constraints.txt '.[metrics,page,postgresql]'

FROM python:3.12-slim
# The numbers of redis:7-alpine's own user: both share the volume /data (see docker-compose.yml).
RUN groupadd --gid 1000 sluice \
 && useradd --uid 999 --gid 1000 --no-create-home --home-dir /data --shell /usr/sbin/nologin sluice \
 && install --directory --owner=999 --group=1000 /data
COPY --from=build /opt/sluice /opt/sluice
ENV PATH=/opt/sluice/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 999:1000
HEALTHCHECK NONE
CMD ["rq", "worker"]
