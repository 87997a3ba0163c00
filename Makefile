# Every target works from a fresh clone and installs nothing on the machine: tools and caches are kept in .tools/.

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/certmedic and bin/certlab
	CGO_ENABLED=0 go build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/ ./cmd/certmedic ./cmd/certlab

.PHONY: run
run: build ## see it heal a certificate whose deploy hook failed (ONCE=1: end by itself)
	bin/certlab story --dir .run --certmedic bin/certmedic $(if $(ONCE),--once)

.PHONY: test
test: ## lint, unit tests with the race detector, end-to-end tests, with their own set-up
	scripts/test lint race e2e

.PHONY: lint
lint: ## gofumpt, go vet, staticcheck, shellcheck
	scripts/lint

.PHONY: test-unit
test-unit: ## the tests that need nothing but Go
	scripts/test unit

.PHONY: test-race
test-race: ## the same with the race detector
	scripts/test race

.PHONY: test-e2e
test-e2e: ## the tests on throwaway hosts with real services (root and Debian)
	scripts/test e2e

.PHONY: bench
bench: ## benchmarks, and certmedic beside its peers: ratios out of bounds fail
	scripts/bench

.PHONY: chaos
chaos: ## the long proofs in full: kill -9 at every point of every action, a thousand faults against the budget, every chain of BetterTLS, every mutant of the rules, a thousand kills in a storm of incidents, ten thousand certificates that expire at once, every interleaving of publishers, every kill of members and of roll-outs
	CERTMEDIC_CHAOS=1 go test -count=1 -run 'Kill|Budget' -v ./remediate
	CERTMEDIC_CHAOS=1 go test -count=1 -run BetterTLS -v ./probe/inspect
	CERTMEDIC_CHAOS=1 go test -count=1 -timeout 30m -run 'Year|Mutation' -v ./internal/scenario
	CERTMEDIC_CHAOS=1 go test -count=1 -run ManyAtOnce -v ./alerting
	CERTMEDIC_CHAOS=1 go test -count=1 -timeout 60m -run 'TestStorm$$' -v ./test/storm
	CERTMEDIC_CHAOS=1 go test -count=1 -timeout 30m -run Same -v ./test/promtool
	CERTMEDIC_CHAOS=1 go test -count=1 -timeout 30m -v ./test/configs
	CERTMEDIC_CHAOS=1 go test -count=1 -timeout 30m -run Interleavings -v ./internal/bundle
	CERTMEDIC_CHAOS=1 go test -count=1 -timeout 60m -v ./remediate/remote ./test/fleet

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s) each
	scripts/fuzz

.PHONY: observe
observe: build ## Prometheus and Alertmanager against make run, which is started where it does not run
	@scripts/observe

.PHONY: clean
clean: ## remove what was built, run and cached
	rm -rf bin .run .tools
