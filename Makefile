# Two commands: `make demo` and `make test`. Both build .venv first; nothing else is needed but Python 3.11 or 3.12.
PYTHON ?= $(shell for p in python3.11 python3.12; do $$p -c "" 2>/dev/null && echo $$p && exit; done; echo python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check -c constraints.txt
# pip would compile what it installs on one core, the packages' own tests included; a few files of some packages cannot
# be compiled, which does no harm.
COMPILE := @$(BIN)/python -m compileall -q -j 0 -x /tests/ $(VENV)/lib cellseg_nb > /dev/null || true

.NOTPARALLEL:
.PHONY: demo test quick setup setup-rivals lab clean

demo: setup
	$(BIN)/cellseg-nb run 00_quickstart -o results/00_quickstart

# Two files of tests at a time with one thread each: sooner done on two cores than one with two threads.
test: setup-rivals
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not notebook and not slow"

lab: setup
	$(BIN)/jupyter lab notebooks

setup: $(VENV)/.ready

setup-rivals: $(VENV)/.rivals

$(VENV)/.ready: EXTRAS := test
$(VENV)/.rivals: EXTRAS := test,rivals

# One installation for all, where Cellpose and StarDist are wanted: two would settle versions and compile twice.
# torch comes first and alone: left to choose freely, pip takes the build with several GB of CUDA libraries.
$(VENV)/.ready $(VENV)/.rivals: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v in ((3, 11), (3, 12)) else "cellseg-nb needs Python 3.11 or 3.12, found %d.%d; try: make PYTHON=/path/to/python3.12" % v)'
	@echo "Building $(VENV): about 1.7 GB, with Cellpose and StarDist 3.5 GB; a few minutes the first time"
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) -e ".[$(EXTRAS)]"
	$(COMPILE)
	@touch $(VENV)/.ready $@

clean:
	rm -rf $(VENV) results
