# Everything is pure Go; make build and make demo need nothing else.
export CGO_ENABLED := 0
GO      ?= go
BIN     := bin
FUZZTIME ?= 10m

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

.PHONY: build
build: ## build bin/carrel and bin/carrel-worker, both static
	$(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/ ./cmd/carrel ./cmd/carrel-worker

.PHONY: demo
demo: build ## start a node in a temporary folder and show what it does
	$(GO) run ./test/demo -bin $(BIN)

RUNSC := $(BIN)/runsc

# What is cached is the binary: it is made anew when its pin changes. Without
# PIE: gVisor does not support it.
$(RUNSC): tools/runsc/go.mod
	$(GO) build -C tools/runsc -trimpath -ldflags '-s -w' -buildmode=exe -o $(abspath $@) gvisor.dev/gvisor/runsc
	@touch $@

.PHONY: runsc
runsc: $(RUNSC) ## build bin/runsc, gVisor's runtime, for the wall kernel (the first time some minutes)

.PHONY: test
test: runsc ## vet, lint and test everything; random tests for 20 rounds, fuzz seeds only
	$(GO) vet ./...
	GOOS=linux GOARCH=arm64 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 $(GO) build ./cmd/carrel
	GOOS=windows GOARCH=amd64 $(GO) build -o /dev/null ./cmd/carrel
	$(GO) test -timeout 14m ./...
	$(GO) test -C test/zitadel ./...
	$(MAKE) cover

.PHONY: cover
cover: ## check that the tests of iam/policy and isolation reach their every statement
	@mkdir -p $(BIN) && $(GO) test -coverprofile=$(BIN)/policy.cover ./iam/policy
	@$(GO) test -coverprofile=$(BIN)/isolation.cover ./isolation
	@awk 'FNR > 1 && $$NF == 0 { print "no test reaches " $$1; missed = 1 } END { exit missed }' $(BIN)/policy.cover $(BIN)/isolation.cover

.PHONY: soak
soak: ## random tests for 1,000 rounds, then every fuzz target for $(FUZZTIME)
	CARREL_TEST_ROUNDS=1000 $(GO) test -timeout 6h ./...
	$(MAKE) fuzz

.PHONY: fuzz
fuzz: ## run every fuzz target for $(FUZZTIME) each (make fuzz FUZZTIME=30s)
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u | while read -r dir; do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | sed 's/func //' | sort -u); do \
			echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$dir || exit 1; \
		done; \
	done

.PHONY: bench
bench: build ## measure everything in one go and print ratios (BEFORE=dir: beside an earlier build)
	$(GO) run ./test/bench -bin $(BIN) $(if $(BEFORE),-before $(BEFORE))
	$(GO) run -C test/bench/engines .

VERSITYGW := $(BIN)/versitygw-1.8.0

$(VERSITYGW):
	GOBIN=$(abspath $(BIN)/install) $(GO) install github.com/versity/versitygw/cmd/versitygw@v1.8.0
	mv $(BIN)/install/versitygw $@ && rmdir $(BIN)/install

.PHONY: versitygw
versitygw: build $(VERSITYGW) ## run Versity's IAM suite against a node (the first time builds it, some minutes)
	$(GO) run ./test/versitygw -bin $(BIN) -suite $(VERSITYGW)

.PHONY: lint
lint: ## check formatting and the rules of this code base
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'run gofmt -w on these files'; exit 1; }
	$(GO) vet ./...
	$(GO) test -count=1 ./internal/lint
