# `make` alone lists the targets.

# The dev profile optimises dependencies and our crates enough for the demo and builds faster than release.
PROFILE ?= dev
# More flags for cargo, for example --locked or --offline.
CARGO_FLAGS ?=
# The output of `make demo`.
DEMO_OUTPUT ?= demo-output

# The commands that the demo does not use are left out of its build: DataFusion alone takes several minutes.
DISMAX = -p dismax-cli --bin dismax --no-default-features --features train --profile $(PROFILE) $(CARGO_FLAGS)

# All crates, also with what no program of ours uses.
EVERYTHING = --workspace --features dismax-udfs/codec

# Where cargo puts what it built.
CARGO_OUTPUT = $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))

.PHONY: help setup demo test python-test lint wheel report-test fault-test cloud-test cluster-test parts-test \
    python-integration-test fuzz dist dist-test clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-23s %s\n", $$1, $$2 }' Makefile

setup: ## fetch libtorch into .libtorch (131 MB; 2.3 GB more with an NVIDIA GPU), unless LIBTORCH is set
	@python3 scripts/setup_libtorch.py

demo: setup ## train, calibrate, score and evaluate on handwritten digits
	cargo build $(DISMAX)
	@DISMAX="cargo run --quiet $(DISMAX) --" scripts/demo.sh $(DEMO_OUTPUT)

test: setup ## run every test, the examples, and the commands of README.md and docs/
	python3 -m unittest discover --start-directory scripts
	cargo test $(EVERYTHING) $(CARGO_FLAGS)
	scripts/run_examples.sh $(CARGO_FLAGS)
	scripts/run_docs.py -- $(CARGO_FLAGS)
	$(MAKE) python-test

# With the tests' dependencies the same build serves as for `cargo test`.
python-test: setup ## the Python package on the real libraries (fetches them into .venv)
	cargo build $(EVERYTHING) --lib --tests --profile $(PROFILE) $(CARGO_FLAGS)
	scripts/python_test.sh $(CARGO_OUTPUT)

python-integration-test: setup ## the Python package on local clusters of Spark, Ray and Daft (fetches them; needs Java)
	cargo build $(EVERYTHING) --lib --tests --profile $(PROFILE) $(CARGO_FLAGS)
	scripts/python_test.sh $(CARGO_OUTPUT) --integration

lint: setup ## formatting, clippy and rustdoc, warnings denied; which crate, room and file may use which
	scripts/check_rooms.py
	cargo fmt --all --check
	cargo clippy $(EVERYTHING) --all-targets $(CARGO_FLAGS) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(EVERYTHING) --no-deps $(CARGO_FLAGS)

wheel: setup ## build the Python package, in release mode, into python/wheels
	python3 -m pip wheel --no-deps --wheel-dir python/wheels ./python

report-test: demo ## audit the demo's digits and use the report as a reader would (needs Node 20 with npm, and Chromium)
	cargo run --quiet $(DISMAX) --features audit -- --quiet audit examples/data/digits/mixed.parquet --model $(DEMO_OUTPUT)/model --label digit \
	    --group-by source --out $(DEMO_OUTPUT)/audit --force
	DISMAX_KEEP_PAGES=$(abspath $(DEMO_OUTPUT)) cargo test --quiet -p dismax-audit --lib $(CARGO_FLAGS) report::
	cd tests/report && npm ci --silent && node drive.mjs $(abspath $(DEMO_OUTPUT))/audit/report.html
	cd tests/report && node drive.mjs $(abspath $(DEMO_OUTPUT))/report.html --view view.json

cloud-test: setup ## object stores on this machine, with faults (fetches SeaweedFS and Azurite; needs Node 20 with npm)
	cargo build -p dismax-cli --bin dismax --profile $(PROFILE) $(CARGO_FLAGS)
	scripts/cloud_test.py target/debug/dismax

cluster-test: setup ## workers that are processes on this machine, with faults (fetches SeaweedFS; needs openssl)
	cargo build -p dismax-cli --bin dismax --profile $(PROFILE) $(CARGO_FLAGS)
	scripts/cluster_test.py target/debug/dismax

parts-test: setup ## kill runs that score into a folder, and fill their disk
	cargo build -p dismax-cli --bin dismax --profile $(PROFILE) $(CARGO_FLAGS)
	scripts/parts_test.py target/debug/dismax

fault-test: demo ## kill and fail every call that puts results on disk (needs strace)
	cargo build $(DISMAX) --features audit
	scripts/fault_test.py target/debug/dismax

fuzz: setup ## feed every reader random bytes, MINUTES (10) in all; needs g++
	scripts/fuzz.sh $(or $(MINUTES),10)

dist: setup ## an archive for machines without Rust and Python: program, libtorch, models, manual pages (needs zstd)
	scripts/dist.sh

dist-test: dist ## unpack it into an empty root folder and use it there (needs the rights to chroot)
	scripts/dist_test.sh $(or $(CARGO_TARGET_DIR),target)/dist/dismax-*-linux.tar.zst

clean: ## remove what was built and the demo's output; .libtorch stays
	cargo clean
	rm -rf $(DEMO_OUTPUT)
