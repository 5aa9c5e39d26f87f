# Two commands for users: `make run` and `make test`. The rest is for developers.
CARGO ?= cargo
# One profile for everything, so that the dependencies are built once.
BIN = $(CARGO) run --quiet --bin lapidary --
MEASURE = $(CARGO) bench --quiet --profile dev --bench

.PHONY: run test test-avx2 check bench screenshots deps

run: deps
	$(CARGO) build --bin lapidary
	$(BIN) $(ARGS)

test: deps
	$(CARGO) test

# The same without AVX-512 products, as on most machines. Builds what hangs on them a second time.
test-avx2: deps
	$(CARGO) test --no-default-features

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items

bench: deps
	$(BIN) bench
	$(MEASURE) window

screenshots: deps
	$(MEASURE) screenshots --no-run
	assets/with_display.sh $(MEASURE) screenshots

deps:
	assets/install_deps.sh
