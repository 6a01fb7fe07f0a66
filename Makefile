# Everything a checkout needs: `make run` shows it, `make test` checks it.
.POSIX:

BIN = .venv/bin
PYTEST = $(BIN)/python -m pytest -q

.PHONY: help setup run test test-fast test-full test-clients conformance bench bench-tokens

help:
	@echo 'make run           set up, then watch a real Codex session go through the chain'
	@echo 'make test          unit, addon and end-to-end tests, and random sessions'
	@echo 'make test-fast     the quick unit and addon tests only'
	@echo 'make test-full     everything, with what fetches pinned packages'
	@echo 'make test-clients  Claude Code, OpenCode, Aider and Codex through the chain'
	@echo 'make conformance  llmprobe against the chain; writes docs/conformance.md'
	@echo 'make bench         the chain against bare mitmdump and its peers, with and without recording'
	@echo 'make bench-tokens  what sessions are billed over each route, with and without dedup'
	@echo 'make setup         only the virtual environment, in .venv'

setup:
	@tools/setup

run: setup
	@$(BIN)/interpose tour

test-fast: setup
	@$(PYTEST) -n 2 tests/unit tests/addons -m 'not full and not slow'

test: setup
	@$(PYTEST) -n 2 tests/unit tests/addons tests/fuzz -m 'not full'
	@$(PYTEST) -n 2 --dist worksteal tests/e2e -m 'not full'

test-full: setup
	@INTERPOSE_TEST_ALL=1 $(PYTEST) -n 2 tests/unit tests/addons tests/fuzz
	@INTERPOSE_TEST_ALL=1 $(PYTEST) -n 2 --dist worksteal tests/e2e

test-clients: setup
	@$(PYTEST) tests/clients tests/conformance

conformance:
	@tools/conformance

bench: setup
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.recording

bench-tokens: setup
	@$(BIN)/python -m benchmarks.tokens
