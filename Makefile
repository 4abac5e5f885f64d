# `make help` lists the targets.  Both `make demo` and `make test` start from nothing but Python 3.11.

VENV ?= .venv
PREFIX ?= /usr/local
DEMO_LOG = tests/fixtures/haproxy-before-delayed/trace
PYTEST = $(VENV)/bin/python -m pytest

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-live test-browser test-kernel test-kernel-one kernel-shell fuzz mutants lint docs bench bench-live screenshots vendor bpf install uninstall clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | \
		while IFS='	' read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done

demo: $(VENV)/.with-nothing  ## set up and analyse a real HAProxy log that lost kTLS to a race
	$(VENV)/bin/ktrace parse $(DEMO_LOG)

test: $(VENV)/.with-test  ## set up and run the tests (ARGS="-k name" for some)
	$(PYTEST) -n auto $(ARGS)

test-live: $(VENV)/.with-test  ## capture real programs with eBPF and strace; needs root
	$(PYTEST) tests/live -m live $(ARGS)

test-browser: $(VENV)/.with-browser tests/browser/node_modules  ## open the pages in Debian's chromium
	$(PYTEST) tests/browser -m browser $(ARGS)

test-kernel: $(VENV)/.with-test  ## hold ktrace against Debian kernels in QEMU; needs root
	$(PYTEST) tests/kernel -m kernel $(ARGS)

test-kernel-one: $(VENV)/.with-test  ## the same against the oldest of the three kernels
	$(PYTEST) tests/kernel -m kernel -k bookworm $(ARGS)

kernel-shell: $(VENV)/.with-test  ## open a shell in one of them (GUEST=bookworm, trixie, backports)
	$(VENV)/bin/python -m tests.kernel shell $(or $(GUEST),bookworm)

fuzz: $(VENV)/.with-fuzz  ## feed damaged logs and captures to the readers (FOR=20: seconds for each)
	$(VENV)/bin/python -m tests.fuzz --seconds $(or $(FOR),20) --seed $(or $(SEED),1) $(ARGS)

mutants: $(VENV)/.with-mutants  ## change ordering and decoding on purpose: do the tests notice? (ARGS="NAME...")
	$(VENV)/bin/python -m mutmut run --max-children 2 $(ARGS)
	$(VENV)/bin/python -m mutmut results

lint: $(VENV)/.with-lint  ## style and types, of the tests too
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

docs: $(VENV)/.with-nothing  ## write the pages of docs/findings and the JSON Schema from the code
	$(VENV)/bin/python tools/generate.py

bench: $(VENV)/.with-bench  ## speed and memory on a generated log (ARGS="--lines N")
	$(VENV)/bin/python -m compileall -q ktrace
	$(VENV)/bin/python -m tests.bench.bench $(ARGS)

bench-live: $(VENV)/.with-test  ## what a live capture costs, beside strace and bpftrace; needs root
	$(VENV)/bin/python -m compileall -q ktrace
	$(VENV)/bin/python -m tests.live.bench $(ARGS)

screenshots: $(VENV)/.with-browser  ## take the pictures of docs/images anew (needs chromium)
	$(VENV)/bin/python -m tests.browser.screenshots docs/images

vendor:  ## take the libraries of the HTML report from npm (UPDATE=--update for newer ones)
	reports/vendor/refresh.sh $(UPDATE)

bpf:  ## build the probe (Debian: clang llvm libbpf-dev); the objects are committed
	bpf/build

install:  ## install for everyone under PREFIX (/usr/local), so that `sudo ktrace` works
	EVERYONE=yes tools/setup $(PREFIX)/lib/ktrace '.[live,parquet]'
	mkdir -p $(PREFIX)/bin
	ln -sf ../lib/ktrace/bin/ktrace $(PREFIX)/bin/ktrace

uninstall:  ## remove what `make install` put there
	rm -rf $(PREFIX)/lib/ktrace $(PREFIX)/bin/ktrace

clean:  ## remove the environment, caches and builds
	rm -rf $(VENV) build dist mutants tests/actual .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

tests/browser/node_modules: tests/browser/package-lock.json
	npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund
	@touch $@

# One stamp for each set of extras; all are installed into the same environment.
$(VENV)/.with-nothing: pyproject.toml tools/setup
	tools/setup $(VENV) -e .
	@touch $@

$(VENV)/.with-%: pyproject.toml tools/setup
	tools/setup $(VENV) -e '.[$*]'
	@touch $@ $(VENV)/.with-nothing
