# Every target sets up what it needs, inside .venv only. A stamp in .venv says what is installed; it is older than
# pyproject.toml or a pin exactly when something has to be installed again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt
MODELS := $(PIP) install --quiet --no-deps
PINS := pyproject.toml constraints.txt requirements/models.txt

.PHONY: help setup demo demo-ja test test-slow lint format bench peers same-order candidates kept-states passes regret rank-spread poc-cost estimator performance kills ledger crashes registry-list gguf curves false-verdicts shuffled coverage statistics size readme bad-inputs clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo       the main job on packaged English data and a packaged model; scorecard in demo-out'
	@echo 'make demo-ja    the same in Japanese; scorecard in demo-out-ja'
	@echo 'make setup      .venv with everything for development'
	@echo 'make test       all quick tests'
	@echo 'make test-slow  the tests on real models'
	@echo 'make lint       ruff, mypy, import floors'
	@echo 'make format     let ruff rewrite what it can'
	@echo 'make bench      training speed and memory against TRL + PEFT, in turn'
	@echo 'make peers      the same against LitGPT and LLaMA-Factory'
	@echo 'make same-order  our held-out loss against plain peft in our order of rows'
	@echo 'make candidates  eight candidates in a bank against eight runs alone'
	@echo 'make kept-states  one more epoch where the states below the trained blocks are kept'
	@echo 'make passes     what a pass costs by its tokens and by how long waiting threads spin'
	@echo 'make regret     the automatic choice of rate, rank and method against a whole grid; hours on two cores'
	@echo 'make rank-spread  LoRA with even ranks and with ranks laid over the layers by their inputs'
	@echo 'make poc-cost   the plan of a whole study against five full fine-tunings with TRL'
	@echo 'make estimator  the memory estimate against the measured peak'
	@echo 'make performance  write docs/performance.md from the results'
	@echo 'make kills      fifty random kills during a study'
	@echo 'make ledger     the registry under load: writers at once, questions and verification of a million events'
	@echo 'make crashes    every write call of the registry fails or is the last one'
	@echo 'make registry-list  the list of ten thousand versions'
	@echo 'make gguf       an exported adapter in llama.cpp against our own answers'
	@echo 'make curves     least data and forecasts from learning curves, against the truth'
	@echo 'make false-verdicts  what simulated studies decide, against the truth'
	@echo 'make shuffled   what real studies decide on answers that were dealt at random'
	@echo 'make coverage   how often the intervals contain the truth'
	@echo 'make statistics  write docs/statistics.md and its twin from the results'
	@echo 'make size       lines per file and the longest functions'
	@echo 'make readme     write the file tree and the results table into both READMEs'
	@echo 'make bad-inputs  write docs/bad-inputs.md from the tests'
	@echo 'make clean      remove .venv and caches'

$(VENV)/.demo: $(PINS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable '.[demo]'
	$(MODELS) --requirement requirements/models.txt
	@touch $@

$(VENV)/.ja: $(VENV)/.demo requirements/models-ja.txt
	$(INSTALL) --editable '.[demo-ja]'
	$(MODELS) --requirement requirements/models-ja.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(INSTALL) --editable '.[test,lint]'
	@touch $@

$(VENV)/.slow: $(VENV)/.dev
	$(INSTALL) --editable '.[test-slow]'
	@touch $@

$(VENV)/.bench: $(VENV)/.dev requirements/bench.txt
	$(INSTALL) --requirement requirements/bench.txt
	@touch $@

setup: $(VENV)/.dev

# 3 is the status of "undecidable", which is an answer.
demo: $(VENV)/.demo
	$(BIN)/tsugiki demo --out demo-out || test $$? -eq 3

demo-ja: $(VENV)/.ja
	$(BIN)/tsugiki demo --language ja --out demo-out-ja || test $$? -eq 3

# Two workers of one thread each; a file's tests stay together, since they share what is expensive to make.
test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-slow: $(VENV)/.dev $(VENV)/.ja $(VENV)/.slow
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Peers that need other versions than ours get environments of their own. Pictures and sound come compiled for a torch
# with CUDA, break beside one without, and are not needed for text.
.peers/%/.done: requirements/peer-%.txt
	$(PYTHON) -m venv .peers/$*
	.peers/$*/bin/python -m pip --disable-pip-version-check install --quiet --requirement requirements/peer-$*.txt
	.peers/$*/bin/python -m pip --disable-pip-version-check uninstall --quiet --yes torchvision torchaudio
	@touch $@

peers: $(VENV)/.bench .peers/litgpt/.done .peers/llamafactory/.done
	$(BIN)/python -m benchmarks.speed --peer litgpt
	$(BIN)/python -m benchmarks.speed --peer llamafactory

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.speed

same-order: $(VENV)/.dev
	$(BIN)/python -m benchmarks.same_order

candidates: $(VENV)/.dev
	$(BIN)/python -m benchmarks.candidates

kept-states: $(VENV)/.dev
	$(BIN)/python -m benchmarks.kept_states

passes: $(VENV)/.dev
	$(BIN)/python -m benchmarks.passes

regret: $(VENV)/.dev $(VENV)/.ja
	$(BIN)/python -m benchmarks.regret --after-others

rank-spread: $(VENV)/.dev $(VENV)/.ja
	$(BIN)/python -m benchmarks.rank_spread

poc-cost: $(VENV)/.bench
	$(BIN)/python -m benchmarks.poc_cost

estimator: $(VENV)/.dev
	$(BIN)/python -m benchmarks.estimator

performance: $(VENV)/.dev
	$(BIN)/python -m tools.performance

kills: $(VENV)/.dev
	$(BIN)/python -m benchmarks.kill_study

ledger: $(VENV)/.dev
	$(BIN)/python -m benchmarks.ledger

crashes: $(VENV)/.dev
	$(BIN)/python -m benchmarks.registry_crashes

registry-list: $(VENV)/.dev
	$(BIN)/python -m benchmarks.registry_list

gguf: $(VENV)/.dev
	$(BIN)/python -m benchmarks.gguf_export

curves: $(VENV)/.dev
	$(BIN)/python -m benchmarks.curves

false-verdicts: $(VENV)/.dev
	$(BIN)/python -m benchmarks.false_verdicts

shuffled: $(VENV)/.dev
	$(BIN)/python -m benchmarks.shuffled

coverage: $(VENV)/.dev
	$(BIN)/python -m benchmarks.coverage

statistics: $(VENV)/.dev
	$(BIN)/python -m tools.statistics_page

size: $(VENV)/.dev
	$(BIN)/python tools/sizes.py

readme: $(VENV)/.dev
	$(BIN)/python -m tools.readme

bad-inputs: $(VENV)/.dev
	$(BIN)/python -m tools.bad_inputs

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
