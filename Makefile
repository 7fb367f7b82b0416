# Two commands do everything on a machine with cargo, node with npm, python3 and a C compiler:
#   make demo    a whole market on this machine, one bid carried to its payout
#   make test    the whole suite, against real servers
# Whatever else they need is installed into .tools/, pinned; a machine that lacks one of the four is told which.
# On Debian: apt-get install make gcc libc6-dev nodejs npm python3 python3-pip, and Rust from rustup (see Cargo.toml for
# the oldest version). Linux on x86-64 has everything; elsewhere the tests that lack their server say so.
# Every target builds the workspace in one profile with one feature set, so nothing is compiled twice: that is why it
# is always --workspace (with -p cargo enables other features of shared crates), and why commands that build no tests
# say --examples (there are none, but it makes cargo enable what the tests' dependencies enable).

export PATH := $(CURDIR)/.tools/bin:$(PATH)
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help demo test test-rust test-contracts test-kubo simulate simulate-planted fuzz bench-manifests bench-pins bench-wallet bench-backfill bench-ipfs bench-blocks soak-ipfs tools lint docs deny image ci clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Run a whole market on this machine: a bid is hosted, audited and paid
	@tools/need cargo cc node npm
	@tools/install anvil
	cargo build --workspace --locked --bins --examples
	$(TARGET)/debug/scatter devnet --once

test: ## Run the whole suite: Rust, contracts, real servers
	@.ci/run tools build rust contracts

test-rust: ## Run the Rust tests alone
	@.ci/run tools build rust

test-contracts: ## Run the contracts' tests alone
	@.ci/run tools contracts

simulate: ## Run the node under seeds of faults on virtual time (SEEDS=n FROM=k)
	cargo run --release --locked -p scatter-simulation -- --seeds $(or $(SEEDS),300) --from $(or $(FROM),0)

simulate-planted: ## Plant 29 bugs, one after the other: each must be caught, and by which invariant is told
	cargo run --release --locked -p scatter-simulation -- --planted --seeds $(or $(SEEDS),500)

test-kubo: ## Run the tests that face a real Kubo (ipfs on PATH); fails where there is none
	@tools/need cargo cc
	SCATTER_REQUIRE=ipfs cargo test --workspace --locked --test kubo --test ipfs --test layouts --test car --test publishing --test interruptions --test killed --test consortium --test market_on_kubo

fuzz: ## Throw mutations of the corpora at each decoder of what others send, MINUTES=n each (DECODER=one of them)
	@tools/need cargo cc
	FUZZ_MINUTES=$(or $(MINUTES),10) FUZZ_DECODER=$(DECODER) cargo test --locked -p embedded-ipfs --lib -- --ignored --nocapture fuzzing

bench-manifests: ## Measure a manifest of 10,000 roots, first and again, beside a script of ipfs commands (needs ipfs on PATH)
	cargo bench --locked --bench manifests

bench-wallet: ## Measure 2,000 transactions through the wallet beside bare calls and beside ethers.js, and a restart with 10,000
	@tools/need cargo cc node npm
	@tools/install anvil ethers
	cargo bench --locked --bench wallet

bench-pins: ## Measure 10,000 local pins through the node beside a bare client of pin/add (needs ipfs on PATH)
	cargo bench --locked --bench pins

bench-backfill: ## Measure 1,000,000 market events of 200,000 blocks read into the store, beside the same answers only decoded; then the latency
	cargo bench --locked --bench backfill

bench-ipfs: ## Measure two files of 200 MiB and a directory of 10,000 pinned from a Kubo by the embedded node, beside another Kubo (needs ipfs on PATH)
	cargo bench --workspace --locked --bench fetch

# glibc keeps what was freed, by thread: it is told to give it back, so that what is measured is what is held.
soak-ipfs: ## Let two embedded nodes and a Kubo live through random adds, pins, collections and lost connections (MINUTES=n SEED=k; needs ipfs on PATH)
	MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=131072 \
	cargo bench --workspace --locked --bench soak -- --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

bench-blocks: ## Measure opening 1,000,000 blocks after a kill, and writing 200 MiB of blocks beside plain appending
	cargo bench --locked -p embedded-ipfs --bench blocks

tools: ## Install the servers and compilers that demo and tests use into .tools/
	@tools/need node npm python3
	@tools/install all

lint: ## Check formatting and run clippy with warnings denied
	@.ci/run format clippy

docs: ## Build the API documentation with warnings denied
	@.ci/run docs

deny: ## Check licences, banned crates and their sources
	@.ci/run deny

image: ## Build the node's container image with docker, podman or buildah, whichever is there
	@deploy/build-image

ci: ## Run everything that a change must pass
	@.ci/run

clean: ## Remove what was built and installed
	cargo clean
	rm -rf .tools devnet-report
