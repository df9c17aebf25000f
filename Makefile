# Two commands: `make demo` and `make test`. Each sets itself up from a bare machine and can be repeated.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
TESTABLE := .venv/.testable
# Where torch is from: `auto` takes a CPU build where there is no GPU and PyTorch's index can be reached; `none` leaves it
# to pip, whose torch from PyPI brings CUDA; or an index of yours, as in `make setup TORCH_INDEX=https://...`.
TORCH_INDEX ?= auto
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# One thread per process: results do not depend on the number of cores, and processes do not fight for them.
export OMP_NUM_THREADS := 1

.PHONY: setup demo results-quick live lint pins test test-long test-compat zoo clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "homeo-rl needs Python 3.11 or newer, this is %s; try make PYTHON=python3.12" % sys.version.split()[0])'
	$(PYTHON) -m venv .venv
	options="$$($(BIN)/python tools/choose_torch.py '$(TORCH_INDEX)')" && $(INSTALL) $$options -e '.[dev]'
	touch $@

# The GPU's kernels are tested in Triton's interpreter where there is no GPU; compiled networks and NIR graphs also run
# in three other packages, of which the neurons alone are needed, not what else they install.
$(TESTABLE): $(INSTALLED)
	$(INSTALL) -e '.[dev,docs,nir,onnx,triton]'
	$(INSTALL) --no-deps snntorch spikingjelly loguru nirtorch norse
	touch $@

# A spiking robot: trained among obstacles with the tuned preset, damaged, adapted. Ten to fifteen minutes on two cores, after
# installation; without damage it arrives on more than 90 % of the routes (docs/navigation.md).
demo: setup
	rm -rf runs/demo
	$(BIN)/homeo-rl train --algo sac --env homeo_rl/NavigationTrain-v0 --agent san --out runs/demo --eval-freq 10000
	$(BIN)/homeo-rl evaluate runs/demo --suite navigation-paper --homeostasis none,dwam,sleep --episodes 20

# A small study of a walker and a robot that come with the package: two to three minutes on two idle cores (2 min 18 s
# measured), twice that or more where other programs use them.
results-quick: setup
	$(BIN)/homeo-rl study quick --out runs/results-quick

# The page in which a cheetah, an ant and a robot among obstacles are damaged and repaired; it needs Emscripten, and the
# network the first time (docs/live.md). `make live LIVE=docs/showcase` renews the one that is committed.
LIVE ?= build/live
live: setup
	rm -rf $(LIVE)
	$(BIN)/homeo-rl live popsan-halfcheetah-0 popsan-ant-0 navigation-san --out $(LIVE)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/check_words.py

# The pins can be installed from PyPI alone, by every Python; metadata alone is asked for. Offline it is not checked.
pins: setup
	$(BIN)/python tools/check_pins.py || [ $$? -eq 3 ]

test: lint pins $(TESTABLE)
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations 40 --durations-min 4

# Trainings and whole suites: about five hours on one core. Figures are printed.
test-long: setup
	$(BIN)/python -m pytest -m long -s

# What others test: rl-zoo's scripts, Stable-Baselines3's own tests, Gymnasium's checkers, pip, all on the wheel and away
# from the checkout. About half an hour on two cores, after installation.
COMPAT := .venv-compat/.ready
$(COMPAT): constraints.txt tests_compat/prepare.py
	$(PYTHON) -m venv --clear .venv-compat
	.venv-compat/bin/python tests_compat/prepare.py .venv-compat
	touch $@

test-compat: $(COMPAT)
	.venv-compat/bin/python tests_compat/prepare.py .venv-compat --wheel
	.venv-compat/bin/pytest tests_compat -n 2 --dist loadfile

# Hyper-parameters as files for rl-zoo, from the presets and tuned.yaml.
zoo: setup
	$(BIN)/python -c 'from homeo_rl.training.rl_zoo.writer import write_all; write_all()'

clean:
	rm -rf .venv .venv-compat build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
