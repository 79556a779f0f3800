# The service and its sink: python -m services VERB. Built from the root of the repository.
# `make images` passes PYTHON_IMAGE with a digest; the tag stands here for a first try only.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
COPY docker/requirements/services.txt /requirements.txt
# The headers of TensorFlow's C++ are 430 MB.
RUN python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r /requirements.txt \
 && rm -r /opt/venv/lib/python3.11/site-packages/tensorflow/include

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 nearfeed \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin nearfeed \
 && install -d -o nearfeed -g nearfeed /data/releases /data/letters
COPY --from=builder /opt/venv /opt/venv
# The oldest processor that compiled code runs on: with the features of the builder's own it would be compiled anew, or
# worse, on any other. No AVX-512.
ENV NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=""
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=3
WORKDIR /app
COPY docker/requirements/services.txt docker/requirements/
COPY preprocessing/__init__.py preprocessing/artifact.py preprocessing/
COPY services/ services/
RUN python -m compileall -q /app && python -m services compile
ARG COMMIT=""
# Without a key file, or --no-keys, it starts on no such address.
ENV PYTHONDONTWRITEBYTECODE=1 NEARFEED_HOST=0.0.0.0 NEARFEED_COMMIT=${COMMIT}
LABEL org.opencontainers.image.title="nearfeed services" \
      org.opencontainers.image.description="Serves recommendations from a release, and carries events to BigQuery" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-I", "-c", "import os, urllib.request as web; web.urlopen('http://127.0.0.1:' + os.environ.get('NEARFEED_PORT', '8080') + '/healthz', timeout=4)"]
ENTRYPOINT ["python", "-m", "services"]
