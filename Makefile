# Every verb of the project. `make` alone lists them.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# locust brings gevent and much else, so it has an environment of its own.
LOAD_VENV := .venv-load
# Kubernetes' schemas of many versions, which nothing else needs.
MANIFESTS_VENV := .venv-manifests
CHECKOV_VENV := .venv-checkov
# The Python servers that the gateway is measured beside.
BENCH_VENV := .venv-bench
T ?= tests

.DEFAULT_GOAL := help
.PHONY: help run up down services load bench test test-sdk autobahn chaos coverage lint format proto docs pictures \
	dashboards board-pictures lock base-image images pin-images test-images compose manifests checkov deploy undeploy secrets clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# A virtual environment that was interrupted half-way has no stamp and is completed on the next call.
$(VENV)/stamp-run: requirements/run.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Drawbridge needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
		|| { echo "Python's venv module is missing. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	@# Our packages are imported from this checkout, also by programs that do not start in it.
	@$(BIN)/python -c 'import pathlib, sysconfig; \
		pathlib.Path(sysconfig.get_path("purelib"), "drawbridge.pth").write_text("$(CURDIR)\n")'
	@touch $@

$(VENV)/stamp-dev: requirements/dev.txt $(VENV)/stamp-run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(LOAD_VENV)/stamp: requirements/load.txt $(VENV)/stamp-run
	@$(PYTHON) -m venv $(LOAD_VENV)
	$(LOAD_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/load.txt
	@touch $@

$(MANIFESTS_VENV)/stamp: requirements/manifests.txt $(VENV)/stamp-run
	@$(PYTHON) -m venv $(MANIFESTS_VENV)
	$(MANIFESTS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/manifests.txt
	@touch $@

$(CHECKOV_VENV)/stamp: requirements/checkov.txt $(VENV)/stamp-run
	@$(PYTHON) -m venv $(CHECKOV_VENV)
	$(CHECKOV_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/checkov.txt
	@touch $@

$(BENCH_VENV)/stamp: requirements/bench.txt $(VENV)/stamp-run
	@$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

run: $(VENV)/stamp-run ## serve everything in one process on https://localhost:8443
	@exec $(BIN)/python -m infra.embedded

up: $(VENV)/stamp-run ## start the stack: nginx, Redis, PostgreSQL, Prometheus, GATEWAYS=n (2); again: change or repair it
	@GATEWAYS="$(GATEWAYS)" LIMITS="$(LIMITS)" $(BIN)/python -m infra.stack up

down: $(VENV)/stamp-run ## stop the stack
	@$(BIN)/python -m infra.stack down

# HOST counts only where it is typed: some shells keep the machine's name there.
load: $(VENV)/stamp-run $(LOAD_VENV)/stamp ## load the stack: SCENARIO= USERS= RATE= TIME= ROOM= EVERY= WORKERS= HOST= TOKENS=
	@SCENARIO="$(SCENARIO)" SIZE="$(SIZE)" USERS="$(USERS)" RATE="$(RATE)" TIME="$(TIME)" ROOM="$(ROOM)" EVERY="$(EVERY)" \
		WORKERS="$(WORKERS)" TOKENS="$(TOKENS)" HOST="$(if $(findstring command,$(origin HOST)),$(HOST))" \
		$(BIN)/python -m infra.load

# Parts: auth, revocation, gateway, and the gateway's own: see tests/benchmarks/bench_gateway.py.
bench: $(VENV)/stamp-dev $(BENCH_VENV)/stamp ## measure into docs/performance.md: PART=; FAST=1: a little, the page is left alone
	@PYTHONPATH=. $(BIN)/python -m tests.benchmarks $(if $(FAST),--fast) $(PART)

services: $(VENV)/stamp-run ## install the programs of the stack and the tests (as root; else say which are missing)
	@$(BIN)/python -m infra.stack install

# The tests start the real programs, locust among them. Without them their tests fail, and say what is missing.
# A file stays in one process, because its tests share the services that it starts; in order, because
# the longest files have few tests and would come last together.
test: $(VENV)/stamp-dev $(LOAD_VENV)/stamp ## run the tests, one process a core (T=path narrows)
	@$(BIN)/python -m infra.stack install || true
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder --durations=10 $(T)

# Not a part of `test`: watching each branch doubles what the tests cost.
coverage: $(VENV)/stamp-dev $(LOAD_VENV)/stamp ## run the tests and list what none of them reaches (T=path narrows)
	$(BIN)/coverage run -m pytest $(T)
	$(BIN)/coverage report

test-sdk: $(VENV)/stamp-dev ## run the official Python SDK's own live tests, on ports 8000 and up
	@$(BIN)/python -m infra.stack install
	PYTHONPATH=. $(BIN)/python tests/sdk/python/suite.py

# The suite is a program for Python 2.7, which few machines have: not a part of `test`. CASES='9.* 12.1.1' narrows.
autobahn: $(VENV)/stamp-dev ## try the gateway's WebSockets with the Autobahn|Testsuite: PYTHON2=/path/to/python2.7 CASES=
	@PYTHONPATH=. $(BIN)/python -m tests.autobahn --python2 "$(PYTHON2)" $(if $(CASES),--cases '$(CASES)')

# SEEDS= as many runs, from SEED= on. Not a part of `.ci/run` yet: its slack for a busy machine is too wide to prove much.
chaos: $(VENV)/stamp-dev ## break the stack while clients count, and judge it: MINUTES= SEED= SEEDS= CLIENTS= RATE= PREVIOUS=
	@$(BIN)/python -m infra.stack install
	@PYTHONPATH=. $(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(CLIENTS),--clients $(CLIENTS)) $(if $(RATE),--rate $(RATE)) \
		$(if $(PREVIOUS),--previous $(PREVIOUS))

base-image: $(VENV)/stamp-run ## make the base of the images from Debian's packages, where no registry answers
	@$(BIN)/python -m infra.images base

images: $(VENV)/stamp-run ## build the images: REGISTRY= TAG= BASE_IMAGE=; by docker, or buildah where it has no engine
	@REGISTRY="$(REGISTRY)" TAG="$(TAG)" BASE_IMAGE="$(BASE_IMAGE)" NGINX_BASE_IMAGE="$(NGINX_BASE_IMAGE)" \
		$(BIN)/python -m infra.images build

# Nothing is pinned that no registry has shown.
pin-images: $(MANIFESTS_VENV)/stamp ## write digests of other people's images into the production overlay, where registries answer
	@PYTHONPATH=. $(MANIFESTS_VENV)/bin/python -m infra.manifests pin

# The images must be there: make images.
test-images: $(VENV)/stamp-dev ## run the images, log in and exchange messages between two gateways
	@$(BIN)/python -m infra.stack install
	REGISTRY="$(REGISTRY)" TAG="$(TAG)" $(BIN)/python -m pytest -q tests/images/exchange.py

compose: $(MANIFESTS_VENV)/stamp ## draw the secrets of infra/compose/compose.yaml, once, and say how to start it
	@PYTHONPATH=. $(MANIFESTS_VENV)/bin/python -m infra.compose

manifests: $(MANIFESTS_VENV)/stamp ## write what is generated in k8s/, build every overlay and component, and check them
	@PYTHONPATH=. $(MANIFESTS_VENV)/bin/python -m infra.manifests write
	$(MANIFESTS_VENV)/bin/hadolint infra/docker/Dockerfile
	@PYTHONPATH=. $(MANIFESTS_VENV)/bin/python -m infra.manifests check

# What it passes over, and why: .checkov.yaml. It looks at what `make manifests` has built.
checkov: manifests $(CHECKOV_VENV)/stamp ## look for hardening that is missing in the manifests and the Dockerfile
	@if test -f build/manifests/production.yaml; then \
		$(CHECKOV_VENV)/bin/checkov --config-file .checkov.yaml --framework kubernetes --compact --quiet \
			--skip-download --file build/manifests/production.yaml; fi
	@$(CHECKOV_VENV)/bin/checkov --config-file .checkov.yaml --framework dockerfile --compact --quiet \
		--skip-download --file infra/docker/Dockerfile

deploy: $(MANIFESTS_VENV)/stamp ## bring kubectl's cluster to this version: REGISTRY= TAG= OVERLAY=production BUILT=
	@REGISTRY="$(REGISTRY)" TAG="$(TAG)" OVERLAY="$(OVERLAY)" BUILT="$(BUILT)" BASE_IMAGE="$(BASE_IMAGE)" \
		NGINX_BASE_IMAGE="$(NGINX_BASE_IMAGE)" PYTHONPATH=. $(MANIFESTS_VENV)/bin/python -m infra.deploy deploy

undeploy: $(MANIFESTS_VENV)/stamp ## take it off again, but for data and Secrets: OVERLAY=production
	@OVERLAY="$(OVERLAY)" PYTHONPATH=. $(MANIFESTS_VENV)/bin/python -m infra.deploy undeploy

secrets: $(MANIFESTS_VENV)/stamp ## print Secrets with new passwords for a cluster: make -s secrets | kubectl create -f -
	@PYTHONPATH=. $(MANIFESTS_VENV)/bin/python -m infra.deploy secrets

lint: $(VENV)/stamp-dev ## style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/stamp-dev ## rewrite to the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

proto: $(VENV)/stamp-dev ## generate the Protobuf messages of the client protocol
	$(BIN)/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. ws_gateway/protocol/client.proto ws_gateway/fallbacks/emulation.proto

docs: $(VENV)/stamp-dev ## write the generated pages of docs/
	PYTHONPATH=. $(BIN)/python docs/generate.py

pictures: $(VENV)/stamp-dev ## take the pictures of docs/page.md, with Debian's Chromium
	PYTHONPATH=. $(BIN)/python docs/pictures.py

dashboards: $(VENV)/stamp-run ## write the boards for Grafana from infra/grafana/
	$(BIN)/python -m infra.grafana

# MINUTES= how far back, PROMETHEUS= its address: of the stack without an offset unless given.
board-pictures: $(VENV)/stamp-dev ## draw the boards of docs/operations.md from the running Prometheus
	PYTHONPATH=. $(BIN)/python docs/board_pictures.py \
		$(if $(MINUTES),--minutes $(MINUTES)) $(if $(PROMETHEUS),--url $(PROMETHEUS))

lock: $(VENV)/stamp-dev ## resolve the newest dependencies into requirements/
	$(BIN)/python requirements/lock.py

clean: ## stop the stack and remove what the other targets made (users and keys in .local too)
	@test ! -d .local/stack || test ! -x $(BIN)/python || $(BIN)/python -m infra.stack down
	rm -rf $(VENV) $(LOAD_VENV) $(MANIFESTS_VENV) $(CHECKOV_VENV) $(BENCH_VENV) .venv-autobahn build/autobahn build/bench build/load build/images build/manifests build/deploy build/tools .local tests/sdk/*/node_modules tests/benchmarks/gateway/peer_programs/node_modules .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .schemathesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
