# polyswe: every target sets up what it needs; run `make` for the list.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV   ?= .venv
# make splits its targets at spaces, and `rm -rf` would, too
$(if $(word 2,$(VENV)),$(error VENV '$(VENV)' has spaces in it; choose a path without, such as .venv))
BIN    := $(VENV)/bin
CONFIG ?= sample
ARGS   ?=
BENCH  ?= grading whole_path agents64 big_store nordlys laboratory serve ray_scaling ray_nodes
# what `make replay` reads: the SWE-bench site's own record, or a path of yours
OUTCOMES ?= https://raw.githubusercontent.com/SWE-bench/swe-bench.github.io/master/data/leaderboards.json
TASKS    ?= SWE-bench/SWE-bench_Verified
POOL     ?= opus 4.5 medium,gemini 3 pro,claude 4.5 sonnet (20250929)
DATA     ?= ../shared/data
# tests of one file share its runs and images, so a file stays with one process
PARALLEL ?= -n 2 --dist loadfile
# moments at which test-full kills
KILL_SEEDS ?= 0 1 2
comma    := ,

.PHONY: help setup engine evaluate replay tables regression test test-slow test-full coverage mutate bench lint doctor clean distclean

help: ## list the targets
	@echo "polyswe: does routing beat your best single model? Targets:"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18
	@echo "Variables: CONFIG=sample|file.yaml  ARGS='--fresh …'  OUTCOMES=path|url  TASKS=path|dataset  POOL='name,name'"

$(BIN)/.installed: pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit("polyswe needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": run make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	@echo "polyswe: setting up $(VENV) (a few minutes the first time) …"
	@"$(PYTHON)" -m venv "$(VENV)" || { echo "polyswe: 'python3 -m venv' failed; on Debian: apt-get install python3-venv" >&2; exit 3; }
	@"$(BIN)/python" -m pip install -qq --upgrade 'pip>=25'
	@"$(BIN)/python" -m pip install -qq --constraint constraints.txt --editable '.[offline,dev]'
	@touch "$@"

setup: $(BIN)/.installed ## virtual environment with pinned packages

engine: ## a Docker Engine that answers (installs one as root on Debian-like systems)
	@bash harness/setup/engine.sh

evaluate: setup engine ## run a benchmark end to end (the embedded sample, or CONFIG=file.yaml)
	@"$(BIN)/polyswe" evaluate "$(CONFIG)" $(ARGS)

replay: setup ## what routing is worth on recorded outcomes (OUTCOMES, TASKS, POOL; no Docker)
	@"$(BIN)/polyswe" replay "$(OUTCOMES)" --tasks "$(TASKS)" --pool "$(subst $(comma)," --pool ",$(POOL))" $(ARGS)

tables: setup ## every table of results/replay from recorded data (DATA=folder; takes long)
	@"$(BIN)/polyswe" lab tables --data "$(DATA)" --out results/replay $(ARGS)

# make turns every failure into exit code 2: a gate that tells 1 (broken) from 2 (cannot be judged) calls polyswe compare
regression: setup ## what changed from BASE=run to NEW=run, fails for a regression (or ARGS='--fail-if …')
	@test -n "$(BASE)" -a -n "$(NEW)" || { echo "polyswe: say which: make regression BASE=results/before NEW=results/after" >&2; exit 2; }
	@"$(BIN)/polyswe" compare "$(BASE)" "$(NEW)" $(ARGS)

test: setup engine ## the tests but for the slow ones, on a real engine
	@"$(BIN)/python" -m pytest -m "not slow" $(PARALLEL) $(ARGS)

test-slow: setup engine ## kills, the fault matrix, Ray, browser, the wheel
	@"$(BIN)/python" -m pytest -m slow $(PARALLEL) $(ARGS)

test-full: test test-slow ## both, then 50 kills and the fault matrix three times in a row (KILL_SEEDS='0 1 2')
	@for seed in $(KILL_SEEDS); do POLYSWE_FULL=1 POLYSWE_KILLS=50 POLYSWE_KILL_SEED=$$seed \
		"$(BIN)/python" -m pytest -s tests/harness/run/test_kills.py tests/harness/run/test_fault_matrix.py || exit 1; done

coverage: setup engine ## lines of harness and agents that the tests run, processes included
	@"$(BIN)/python" -m pytest --cov --cov-report=term --cov-report=html:build/coverage $(ARGS)

mutate: setup engine ## break key lines one by one and see that tests notice
	@POLYSWE_FULL=1 $(BIN)/python tests/mutate.py $(ARGS)

bench: setup engine ## speed figures as ratios side by side (BENCH='grading nordlys' picks some)
	@for name in $(BENCH); do \
		echo "== $$name"; PYTHONPATH=. "$(BIN)/python" tests/bench/$$name.py $(ARGS) || failed="$$failed $$name"; \
	done; if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

lint: setup ## ruff, mypy and the direction of imports
	@"$(BIN)/ruff" check . && "$(BIN)/ruff" format --check . && "$(BIN)/mypy" && "$(BIN)/lint-imports"

doctor: setup ## check this machine and list what is missing
	@"$(BIN)/polyswe" doctor $(ARGS)

clean: ## remove caches and build leftovers (results/ stays)
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## also remove the virtual environment
	@rm -rf "$(VENV)"
