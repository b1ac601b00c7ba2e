# Everything runs in .venv, which the first target makes with nothing but Python and a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export YOLO_OFFLINE := true
export YOLO_AUTOINSTALL := false
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: demo test test-all lint format bench bench-coverage bench-faults bench-scale clean

$(VENV)/.installed: pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python ">=3.11" $(VENV) && uv pip install --quiet --python $(BIN)/python -e ".[yolo,hf,dev]"; \
	else \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "xai needs Python 3.11 or newer, this is " + sys.version.split()[0])' && \
		$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet -e ".[yolo,hf,dev]"; \
	fi
	@touch $@

demo: $(VENV)/.installed  ## the whole job on rendered scenes with known causes
	$(BIN)/xai demo --out runs/demo

# Each worker of the tests has a core of its own: threads of torch beyond that only get into each other's way.
# Property tests draw the same examples each time here, fresh ones in test-all.
test: $(VENV)/.installed  ## everything that is quick
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m "not slow" --hypothesis-profile=repeatable

test-all: $(VENV)/.installed  ## the long ones too
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto

lint: $(VENV)/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed  ## one JSON line per figure, a table at the end
	@for script in $$(ls tests/benchmarks/*.py | grep -v -e harness.py -e train_ -e /accuracy_ -e '/planted_[^c]' -e /attribution_ -e /gpu_ -e /faults_); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

# SLICELINE and CLEANLAB are interpreters of environments that hold these peers; without them the peers are left out.
bench-coverage: $(VENV)/.installed  ## coverage, novelty and label checks at the size of their targets
	@for script in coverage_intervals.py coverage_null.py \
		"coverage_planted.py $(if $(SLICELINE),--sliceline $(SLICELINE))" "coverage_speed.py $(if $(SLICELINE),--sliceline $(SLICELINE))" \
		"label_checks.py $(if $(CLEANLAB),--cleanlab $(CLEANLAB))" novelty.py; \
	do echo "== $$script"; $(BIN)/python tests/benchmarks/$$script || exit 1; done

bench-faults: $(VENV)/.installed  ## what a run survives: kills, faults of the machine, damaged labels and photos
	$(BIN)/python tests/benchmarks/faults.py

# On a quiet machine with two cores: two workers are timed by the clock. ARGUMENTS="--only tables" measures a part.
# RAY is an interpreter of an environment that holds ray; without it that part is left out.
bench-scale: $(VENV)/.installed  ## memory, throughput and work done again as the data grow; needs 10 GB of disk
	$(BIN)/python tests/benchmarks/scale.py $(ARGUMENTS)
	$(or $(RAY),$(BIN)/python) tests/benchmarks/ray_engine.py

clean:
	rm -rf $(VENV) runs build *.egg-info .mypy_cache .ruff_cache .pytest_cache
