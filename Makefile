# make demo   the whole thing at work: a home, a bot, the filter (root for the live part)
# make test   all tests (root for the live ones; without it they are skipped and say why)
# make lint   ruff and mypy
# make bench  what the engine costs, and that it stays linear
# make fuzz   12 million inputs (hours); FUZZ_RUNS=5000 make fuzz for fewer
# make evaluate the detector's goals, measured (10 minutes); EVALUATE=--quick make evaluate for less than one
# make calibrate the table's rates beside those observed, and the false alarms (2 minutes; CALIBRATE=--quick: 10 s)
# make record record pcaps/ again (root)
# make peers  real mail programs talk through the lab, and their logs are compared with what the filter saw (root; Debian)

PYTHON = .venv/bin/python

.PHONY: demo test lint bench fuzz evaluate calibrate record peers clean

FUZZ_RUNS ?= 2000000

demo:
	@.ci/setup demo
	@$(PYTHON) -m tests.lab.demo

test:
	@.ci/setup test
	@$(PYTHON) -m pytest

lint:
	@.ci/setup test
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

bench:
	@.ci/setup test
	@$(PYTHON) -m tests.bench.engine
	@$(PYTHON) -m tests.bench.linear

# Six targets, so many inputs each.
fuzz:
	@.ci/setup test
	@$(PYTHON) -m tests.fuzz.run --runs $(FUZZ_RUNS)

evaluate:
	@.ci/setup test
	@$(PYTHON) -m tests.evaluate $(EVALUATE)

calibrate:
	@.ci/setup test
	@$(PYTHON) -m tests.evaluate.calibrate $(CALIBRATE)

record:
	@.ci/setup test
	@$(PYTHON) -m tests.lab.record

peers:
	@.ci/setup test
	@$(PYTHON) -m tests.lab.peers

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
