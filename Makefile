# Everything happens in .venv, with the versions of constraints.txt. A second run finds it there.
#
#   make demo                              see it work: scripted provider, viewer, two programs
#   make demo MODEL=local                  the same with a real model on this machine
#   make demo MODEL=NAME [BASE_URL=URL] [API_KEY_ENV=VARIABLE]    the same with any provider
#   make demo CHECK=1                      ends by itself, with an exit code
#   make example NAME=chat                 an example: chat, models, progress, session, continue, buffered;
#                                          takes MODEL, BASE_URL, API_KEY_ENV and CHECK as the demo does
#   make test [ARGS=...]                   all tests but the slow ones; ARGS goes to pytest
#   make test-slow                         the tests with the real model and other long ones
#   make test-oldest                       the same streams with the oldest supported versions
#   make check                             lint, format, types, layers, generated files
#   make bench                             measurements, printed; further ones stand in benchmarks/
#   make docs                              the generated parts of the documentation
#   make test-stack                        the bundled stack with its real components: see stack.mk
#   make pins                              newest versions into the constraints files
#   make clean

PYTHON ?= python3 python3.13 python3.12 python3.11 python3.10 python3.14 python
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/otel-tokenstream
INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

LLAMA := $(shell sed -n 's/^llama-cpp-python==\([^ ;]*\).*/\1/p' constraints.txt)
LLAMA_WHEELS = $(CACHE)/wheels/llama-cpp-python-$(LLAMA)-$(shell .venv/bin/python -c \
  'import sys, sysconfig; print(sys.implementation.cache_tag, sysconfig.get_platform(), sep="-")')

.PHONY: demo example test test-slow test-oldest check bench docs pins clean browser brokers
.DELETE_ON_ERROR:

# Most tests wait most of the time.
AT_ONCE := -n 4 --dist worksteal

# Tests start programs by their names.
test test-slow test-oldest test-stack: export PATH := $(CURDIR)/.venv/bin:$(PATH)

ASKED = $(if $(MODEL),--model '$(MODEL)') $(if $(BASE_URL),--base-url '$(BASE_URL)') \
  $(if $(API_KEY_ENV),--api-key-env '$(API_KEY_ENV)') $(if $(filter-out 0 no,$(CHECK)),--check)

demo: $(if $(filter local,$(MODEL)),.venv/local,.venv/demo)
	@.venv/bin/otel-tokenstream demo $(ASKED)

example: .venv/examples $(if $(filter local,$(MODEL)),.venv/local)
	@.venv/bin/python examples/run.py '$(NAME)' $(ASKED)

test: .venv/test browser brokers
	.venv/bin/python -m pytest $(AT_ONCE) $(ARGS)

test-slow: .venv/test .venv/local browser brokers
	$(if $(ARGS),,.venv/bin/python -m pytest $(AT_ONCE) -m slow tests/endings)
	.venv/bin/python -m pytest -m slow $(or $(ARGS),--ignore tests/endings)

test-oldest: .venv/oldest/ready
	.venv/oldest/bin/python -m pytest tests/versions $(ARGS)

check: .venv/dev check-dashboards
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	.venv/bin/python docs/generate.py --check

bench: .venv/test
	.venv/bin/python benchmarks/read_path.py
	.venv/bin/python benchmarks/peers.py util-genai
	.venv/bin/python benchmarks/peers.py openinference
	.venv/bin/python benchmarks/truth.py
	.venv/bin/python benchmarks/startup.py

docs: .venv/test
	.venv/bin/python docs/generate.py
	.venv/bin/python tests/endings/page.py

include stack.mk
dashboards check-dashboards stack-binaries test-stack: override PYTHON := .venv/bin/python
dashboards check-dashboards stack-binaries test-stack: .venv/test

# --- Environments ------------------------------------------------------------------------------

.venv/made:
	@rm -rf .venv
	@for python in $(PYTHON); do \
	  if "$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
	    echo "Making .venv with $$("$$python" --version)"; \
	    "$$python" -m venv .venv && touch $@ && exit 0; \
	  fi; \
	done; \
	echo 'No Python 3.10 or newer with its venv module was found. Install one (on Debian and Ubuntu:' >&2; \
	echo 'apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3' >&2; exit 1

examples_includes := .venv/demo
test_includes := .venv/demo .venv/examples
dev_includes := .venv/demo .venv/examples .venv/test

.venv/demo .venv/examples .venv/test .venv/dev: .venv/%: .venv/made pyproject.toml constraints.txt
	@echo 'Installing into .venv what "$*" needs; the first time takes some minutes'
	@$(INSTALL) --editable '.[$*]' && touch $@ $($*_includes)

# llama.cpp is built once and kept. Not tuned to this processor, so that the wheel also runs on another.
.venv/local: .venv/made pyproject.toml constraints.txt
	@if ! ls $(LLAMA_WHEELS)/*.whl >/dev/null 2>&1; then \
	  if ! command -v c++ >/dev/null || ! command -v cc >/dev/null; then \
	    echo 'The local model needs a C and C++ compiler to build llama.cpp. Install one (on Debian and' >&2; \
	    echo 'Ubuntu: apt-get install build-essential), then run this again.' >&2; exit 1; \
	  fi; \
	  echo 'Building llama.cpp once; on two cores that takes about ten minutes'; \
	  CMAKE_ARGS='-DGGML_NATIVE=OFF $(CMAKE_ARGS)' .venv/bin/python -m pip wheel --quiet --disable-pip-version-check \
	    --no-deps --no-cache-dir --wheel-dir $(LLAMA_WHEELS) llama-cpp-python==$(LLAMA) || exit 1; \
	fi
	@echo 'Installing into .venv what the demo with the local model needs'
	@$(INSTALL) --find-links $(LLAMA_WHEELS) --editable '.[demo,local]' && touch $@

.venv/oldest/ready: .venv/made pyproject.toml constraints-oldest.txt
	@echo 'Installing the oldest versions into .venv/oldest'
	@rm -rf .venv/oldest && .venv/bin/python -m venv .venv/oldest
	@.venv/oldest/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints-oldest.txt --editable '.[demo]' pytest pytest-asyncio pytest-timeout && touch $@

browser:
	@if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo 'Installing chromium for the tests of the page'; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
	      chromium chromium-driver >/dev/null; \
	  else \
	    echo 'The tests of the page need chromium and chromedriver (on Debian: apt-get install chromium' >&2; \
	    echo 'chromium-driver) and fail without them.' >&2; \
	  fi; \
	fi

# The tests start their own, on free ports and in directories of their own.
brokers:
	@if ! command -v redis-server >/dev/null || ! test -x /usr/lib/rabbitmq/bin/rabbitmq-server; then \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo 'Installing redis-server and rabbitmq-server for the tests of live outlets'; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
	      redis-server rabbitmq-server >/dev/null; \
	  else \
	    echo 'The tests of live outlets need redis-server and rabbitmq-server (on Debian: apt-get install' >&2; \
	    echo 'redis-server rabbitmq-server) and fail without them.' >&2; \
	  fi; \
	fi

# For every supported Python at once: pip knows the markers in these files.
COMPILE = .venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.10 --no-python-downloads \
  --no-annotate --no-emit-index-url --custom-compile-command 'make pins' pyproject.toml
pins: .venv/made
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(COMPILE) --extra dev --extra local --output-file constraints.txt
	$(COMPILE) --extra demo --resolution lowest-direct --output-file constraints-oldest.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
