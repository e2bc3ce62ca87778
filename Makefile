# `make demo` and `make test` need Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# `make test` puts every algorithm, world and network under the laws; `make test-all` every combination of them under
# each, what is the loop's work (devices, SIGKILL) with every algorithm too.
.PHONY: demo demo-pixels demo-preferences demo-self-play test test-all check bench results clean

demo: $(READY)
	$(BIN)/retorno demo

# A perfect tic-tac-toe, held against who cannot lose, and a Connect Four held against a plain tree search.
demo-self-play: $(READY)
	rm -rf demo/tic-tac-toe demo/connect-four
	$(BIN)/retorno train alpha_zero tic_tac_toe_for_two --folder demo/tic-tac-toe
	$(BIN)/retorno arena demo/tic-tac-toe:0 exact random --games 100
	$(BIN)/retorno train alpha_zero connect_four --folder demo/connect-four
	$(BIN)/retorno arena demo/connect-four:200 uct:1000 --games 20

# A pendulum that is taught to spin by which of two clips a rule finds better, shown in a film; and the page in which
# people compare them, by a real browser.
demo-preferences: $(READY)
	rm -rf demo/spins
	$(BIN)/retorno prefer ppo Pendulum-v1 --judge docs/rules.py:spins --labels 900 --relabel.gradient-steps 30 \
		--relabel.waiting 0.001 --folder demo/spins
	$(BIN)/retorno labels statistics demo/spins
	$(BIN)/retorno play demo/spins --episodes 1 --out demo/spins.gif
	$(BIN)/python docs/pages.py demo/spins demo

# MinAtar's Breakout learnt from pixels: a film of training, and what the network sees.
demo-pixels: $(READY)
	$(BIN)/retorno figure pixels --out demo

test: check
	$(BIN)/pytest

test-all: check
	$(BIN)/pytest --all

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "retorno needs Python 3.11 or newer: make PYTHON=python3.11 demo")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,window]'
	$(BIN)/pyright --version > /dev/null
	touch $(READY)

# The speed of retorno beside its peers, which get an environment of their own.
bench: $(READY) .venv-peers/.ready
	$(BIN)/python benchmarks/deep.py --peers .venv-peers/bin/python
	$(BIN)/python benchmarks/bellman.py --peers .venv-peers/bin/python
	$(BIN)/python benchmarks/tabular.py
	$(BIN)/python benchmarks/self_play.py --peers .venv-peers/bin/python

.venv-peers/.ready: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	.venv-peers/bin/pip install --quiet --disable-pip-version-check --requirement benchmarks/peers.txt
	touch .venv-peers/.ready

# The learning results of docs/results.md, ten seeds each: hours of work on two cores.
results: $(READY)
	$(BIN)/python docs/results.py

clean:
	rm -rf .venv .venv-peers demo
