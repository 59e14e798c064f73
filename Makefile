# Two commands: `make demo` and `make test`. Both build .venv first (tools/install.py); nothing else is needed but a
# Python from 3.11 to 3.13, or uv, which brings one. `make PYTHON=python3.12 ...` chooses.
VENV := .venv
BIN := $(VENV)/bin
export PYTHON

.NOTPARALLEL:
.PHONY: demo test quick setup setup-rivals lab colab bench bundle docs clean

demo: setup
	$(BIN)/cellseg-nb run 00_quickstart -o results/00_quickstart

# Two files of tests at a time with one thread each: sooner done on two cores than one with two threads.
test: setup-rivals
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not notebook and not slow"

lab: setup
	$(BIN)/jupyter lab notebooks

# What a user of Colab meets: its Python, its versions, the notebooks' own first cells (tools/colab.py).
colab: setup
	$(BIN)/python tools/colab.py

# Ours and its peers side by side (benchmarks/speed.py), on a machine that does nothing else.
bench: setup-rivals
	$(BIN)/python benchmarks/speed.py

# For a room without internet: wheels, notebooks, data, weights. BUNDLE="--data cellseg3d --weights wnet3d" adds those.
bundle: setup
	$(BIN)/python tools/bundle.py $(BUNDLE)

# The site, from the notebooks as they lie executed in results/; a warning is an error.
docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(BIN)/python tools/docs.py

setup: $(VENV)/.ready

setup-rivals: $(VENV)/.rivals

$(VENV)/.ready: constraints.txt pyproject.toml
	@python3 tools/install.py
	@touch $@

$(VENV)/.rivals: constraints.txt pyproject.toml
	@python3 tools/install.py rivals
	@touch $(VENV)/.ready $@

# The environments alone: results are yours.
clean:
	rm -rf $(VENV) .venv-colab
