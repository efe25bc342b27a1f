# Every target does its own set-up. `make help` lists them.

CARGO ?= cargo
SEEDS ?= 20000
RUNS ?= 2000

.PHONY: help demo page test test-quick simulate false-rollbacks lint bench bench-detection bench-hostile bench-latency bench-looks parts doc

help: ## What there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: ## A bad release rolled back and its fix promoted, in this terminal
	$(CARGO) run --quiet -- demo

page: dashboards/web/dist/index.html ## The web page, for the next build of the daemon (needs Node 20)

PAGE = $(shell find dashboards/web -name node_modules -prune -o -name dist -prune -o -type f -print 2>/dev/null)
dashboards/web/dist/index.html: $(PAGE)
	@sh tests/parts.sh node
	cd dashboards/web && npm ci --no-audit --no-fund --loglevel=error && npm run --silent test && npm run --silent build

test: parts page ## All tests, with real Envoy, HAProxy, Prometheus, VictoriaMetrics, Chromium and schemathesis
	$(CARGO) test --no-fail-fast --lib --bins
	$(CARGO) test --no-fail-fast --test quick --test simulation
	$(CARGO) test --no-fail-fast --test real -- --test-threads=3

test-quick: ## The tests that need no other program
	$(CARGO) test --lib --bins
	$(CARGO) test --test quick --test simulation

simulate: ## The deterministic simulation with SEEDS=N seeds
	SEEDS=$(SEEDS) $(CARGO) test --test simulation -- --nocapture

false-rollbacks: ## RUNS=N harmless releases under policies/standard.yaml, for each shape of traffic
	@for shape in poisson drift shocks cold-start "bursts --phi 3" noise bad-pod; do \
	  $(CARGO) run --release --quiet -- simulate --policy policies/standard.yaml --runs $(RUNS) --shape $$shape \
	    || exit 1; echo; done

lint: ## Formatting, clippy and the documentation, all without warnings
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

bench: ## The cost of judging, of storing, and of viewers
	$(CARGO) bench --bench judge --bench store --bench viewers

bench-detection: ## False alarms and delays against the rules of the peers, to benches/results
	$(CARGO) bench --bench detection -- --full

bench-hostile: RUNS = 500
bench-hostile: ## False rollbacks of standard.yaml in hostile traffic, RUNS=N a cell, to benches/results/hostile.md
	$(CARGO) bench --bench detection -- --hostile --runs $(RUNS)

bench-latency: parts ## How soon a rollback and a pause are in force while something hangs
	SERIN_TRIALS=20 SERIN_TARGETS=300 SERIN_SPREAD=60 $(CARGO) test --release --test real latency:: -- --nocapture --test-threads=1

bench-looks: parts ## What a look costs: processor time, questions to Prometheus, bytes (LOOKS_TARGETS, LOOKS_MINUTES)
	$(CARGO) bench --bench looks

doc: ## The documentation of the crate
	$(CARGO) doc --no-deps --open

parts: ## Installs what the tests talk to, where it is missing
	@sh tests/parts.sh all
