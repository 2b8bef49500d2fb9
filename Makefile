# make demo   the whole thing at work: a home, a bot, the filter (root for the live part)
# make test   all tests (root for the live ones; without it they are skipped and say why)
# make lint   ruff and mypy
# make record record pcaps/ again (root)

PYTHON = .venv/bin/python

.PHONY: demo test lint record clean

demo:
	@.ci/setup demo
	@$(PYTHON) -m tests.lab.demo

test:
	@.ci/setup test
	@$(PYTHON) -m pytest

lint:
	@.ci/setup test
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

record:
	@.ci/setup test
	@$(PYTHON) -m tests.lab.record

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
