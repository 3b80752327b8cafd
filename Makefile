# One profile and one set of features for demo, dev and test, so that nothing is compiled twice.
CARGO ?= $(shell command -v cargo || echo $(HOME)/.cargo/bin/cargo)
ARGS ?=
SCENARIO ?= light
RUNS ?= 1000000

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test lint bench loadtest chaos mixed fuzz

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what demo, dev and tests need (apt-get; services stay stopped)
	@scripts/setup test

demo: ## Make an episode from end to end, on private servers, without keys
	@scripts/setup demo
	$(CARGO) build --bin podfleet
	@$(CARGO) run -q --bin podfleet -- demo $(ARGS)

dev: ## Run the whole fleet on private servers until Ctrl-C
	@scripts/setup demo
	$(CARGO) build --bin podfleet
	@$(CARGO) run -q --bin podfleet -- dev $(ARGS)

test: ## Run every test; RabbitMQ, PostgreSQL and Redis are started for them
	@scripts/setup test
	$(CARGO) build --workspace --tests
	$(CARGO) test --workspace

lint: ## Check formatting, lints, crate directions, dependencies and docs
	@scripts/lint

bench: ## Measure every promised figure with an optimised build, within 15 minutes; PEERS=1 runs Celery and BullMQ beside it
	@scripts/setup test
	$(CARGO) build --release --bin podfleet
	target/release/podfleet loadtest bench $(if $(PEERS),--peers) $(ARGS)

loadtest: ## Put a load on the fleet: SCENARIO=light|medium|heavy|soak|cache|order|baseline, for MINUTES
	@scripts/setup test
	$(CARGO) build --release --bin podfleet
	target/release/podfleet loadtest run $(SCENARIO) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

chaos: ## Maltreat a fleet for MINUTES, by SEED, and check that nothing is lost
	@scripts/setup test
	$(CARGO) build --bin podfleet
	@$(CARGO) run -q --bin podfleet -- loadtest chaos --minutes $(or $(MINUTES),3) $(if $(SEED),--seed $(SEED)) --output out/chaos/latest.json $(ARGS)

mixed: ## Build the commit that finished the main job, and let it work beside this one
	@scripts/setup test
	@scripts/mixed $(ARGS)

fuzz: ## Feed every decoder (or TARGET) RUNS made-up inputs, guided by coverage
	@scripts/fuzz $(RUNS) $(TARGET)
