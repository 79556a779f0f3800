# A BigQuery for machines without a cloud: python -m preprocessing emulator (docs/decisions/0002-bigquery-emulator.md).
# `make images` passes PYTHON_IMAGE with a digest; the tag stands here for a first try only.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
COPY docker/requirements/emulator.txt /requirements.txt
RUN python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r /requirements.txt

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 nearfeed \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin nearfeed \
 && install -d -o nearfeed -g nearfeed /data/bigquery
COPY --from=builder /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 NEARFEED_EMULATOR_PYTHON=/opt/venv/bin/python
WORKDIR /app
COPY preprocessing/__init__.py preprocessing/__main__.py preprocessing/emulator.py preprocessing/
COPY preprocessing/emulation/ preprocessing/emulation/
RUN python -m compileall -q /app
ENV PYTHONDONTWRITEBYTECODE=1
ARG COMMIT=""
LABEL org.opencontainers.image.title="nearfeed emulator" \
      org.opencontainers.image.description="A local BigQuery" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
USER 10001:10001
EXPOSE 9050 9060
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-I", "-c", "import urllib.request as web; web.urlopen('http://127.0.0.1:9050/healthz', timeout=4)"]
ENTRYPOINT ["python", "-m", "preprocessing", "emulator"]
CMD ["--data-dir", "/data/bigquery", "--host", "0.0.0.0", "--port", "9050", "--storage-port", "9060", "--", "sleep", "infinity"]
