# What trains, judges and publishes: python -m training VERB. Built from the root of the repository.
# `make images` passes PYTHON_IMAGE with a digest; the tag stands here for a first try only.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
COPY docker/requirements/training.txt /requirements.txt
# The headers of TensorFlow's C++ are 430 MB.
RUN python -m venv --without-pip /opt/venv \
 && python -m pip --python /opt/venv/bin/python install --no-cache-dir --require-hashes -r /requirements.txt \
 && rm -r /opt/venv/lib/python3.11/site-packages/tensorflow/include

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 nearfeed \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin nearfeed \
 && install -d -o nearfeed -g nearfeed /data/artifacts /data/releases /data/work
COPY --from=builder /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 TF_CPP_MIN_LOG_LEVEL=3 KERAS_HOME=/tmp/keras
WORKDIR /app
COPY docker/requirements/training.txt docker/requirements/
COPY preprocessing/__init__.py preprocessing/artifact.py preprocessing/
COPY training/ training/
RUN python -m compileall -q /app
ENV PYTHONDONTWRITEBYTECODE=1
ARG COMMIT=""
LABEL org.opencontainers.image.title="nearfeed training" \
      org.opencontainers.image.description="Trains both models, makes the index and publishes releases" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${COMMIT}"
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "training"]
