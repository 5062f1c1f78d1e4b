# SPDX-License-Identifier: Apache-2.0
# On a fresh Debian 12, as root:  make demo   and   make test   do all their own set-up.

# Debian's, for which python3-venv is installed, whatever else PATH holds.
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(shell grep -v '^\#' debian-packages.txt)
BPF := pwru_py/bpf/places.txt
C_FILES = $(shell find bpf bench tests -name '*.[ch]')

.PHONY: demo test quick lint format unit kernel bcc-test every-kernel soak wheel bench generated clean

demo: $(BPF)
	$(BIN)/python -m demo

test: lint
	$(BIN)/pytest -q tests/native
	$(BIN)/pytest -q -n 2 --dist loadgroup --ignore tests/native tests

# At each change: what needs no guest, in under three minutes.
quick: lint
	$(BIN)/pytest -q tests/native
	$(BIN)/pytest -q -n 2 --dist loadgroup tests/unit

unit: $(BPF)
	$(BIN)/pytest -q tests/unit

kernel: $(BPF)
	$(BIN)/pytest -q -n 2 --dist loadgroup tests/kernel

# What is the same code on every kernel is tested by `make test` on one or two: here on all.
every-kernel: $(BPF)
	PWRU_SOAK=1 $(BIN)/pytest -q -n 2 --dist loadgroup -k "not steady_load" tests/kernel

# Kills, floods and an hour of load on each kernel: some five hours.
soak: $(BPF)
	PWRU_SOAK=1 $(BIN)/pytest -q -n 2 --dist loadgroup --timeout 7200 tests/kernel/test_trial.py tests/kernel/test_verifier.py

# Types by BCC and kernels' headers; a part of `make test`.
bcc-test: $(BPF)
	$(BIN)/pytest -q tests/unit/test_headers.py tests/kernel/test_headers.py tests/kernel/test_without_btf.py \
		tests/kernel/test_filters.py::test_types_by_the_kernels_headers

lint: $(BPF)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/mypy
	$(BIN)/lint-imports

# Also tried by other Pythons: make wheel PWRU_PYTHONS='/path/to/python3.13 …'
wheel: $(BPF)
	rm -rf dist
	$(BIN)/pip wheel -q --disable-pip-version-check --no-deps --wheel-dir dist .
	PWRU_WHEEL=$$(echo dist/*.whl) PWRU_PYTHONS='$(PWRU_PYTHONS)' $(BIN)/pytest -q tests/wheel

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_FILES)

bench: $(BPF)
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev,bench]'
	$(BIN)/python -m bench

# Installs only what is missing; as root, so that a development machine stays as it is.
$(VENV)/packages: debian-packages.txt
	@missing=$$(for p in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; \
	done); \
	if [ -n "$$missing" ]; then \
		echo "installing:" $$missing; \
		apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $$missing; \
	fi
	@mkdir -p $(VENV) && touch $@

$(VENV)/installed: $(VENV)/packages pyproject.toml hatch_build.py
	$(PYTHON) -m venv --clear $(VENV)
	@touch $(VENV)/packages
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

$(BPF): $(VENV)/installed $(wildcard bpf/* bpf/arch/*)
	$(BIN)/python bpf/build.py

# What is made of other files and committed; tests compare.
generated: $(BPF)
	$(BIN)/python bpf/build.py contract
	$(BIN)/python -m pwru_py.output.schema > pwru_py/output/schema.json

clean:
	rm -rf $(VENV) .lab build dist pwru_py/bpf/*.o pwru_py/bpf/places.txt
