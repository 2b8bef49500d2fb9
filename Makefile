# make demo   the whole thing at work: a home, a bot, the filter (root for the live part)
# make test   the tests, on all cores (root for the live ones; without it they are skipped and say why; PYTEST="-x tests/live")
# make lint   ruff, mypy, the contracts of who may know whom (import-linter), spelling and style of all text (tools/style.py)
# make docs   write the documents' tables that are made from the code, and the data models of packaging/tr069
# make bench  what the engine costs, that it stays linear, what memory replay takes for 300 MB, what the collector takes, and
#             what the live filter costs
#             (root; 12 minutes; BENCH=--quick: 4)
# make icount what a short dialogue costs in instructions, in a virtual machine that counts them (5 minutes;
#             ICOUNT="--dialogues 300": 2)
# make fuzz   16 million inputs, and a million packets of mail in layers that scapy builds (hours); FUZZ_RUNS=5000
#             FUZZ_PACKETS=5000 make fuzz for fewer
# make faults what becomes of mail while the filter is killed, stopped, flooded... (root; 10 minutes; FAULTS="kill flood")
# make attacks every variant of every attack on the live filter, and a table of them (root; an hour;
#             ATTACK="-k fragments" for some; `make test` has a few of each)
# make live   every combination in the live tests, and 60 drawn cases of what counts as refused (root; half an hour)
# make mutation  60 small changes to the code, of which the tests have to notice 55 (half an hour; MUTATE="report --changes 20")
# make lines  the table of docs/lines.md: on which lines and routers mail is filtered, or reported as not watched (root; qemu;
#             an hour; LINES="--only host --lines pppoe wireguard" for some)
# make turnaround  the tables of docs/turnaround.md: how fast real programs answer, and the same behind a relay (root; 10
#             minutes; TURNAROUND="--count 5 relayed" for some)
# make vm     the live filter and its package in a kernel with nft's own queue, the whole of it (qemu; root; half an hour)
# make stock  what is documented for stock systems, on bare Debian 12 and 13 (root, debootstrap; 10 minutes)
# make evaluate the detector's goals, measured on simulated senders (an hour; EVALUATE=--quick for a quarter)
# make calibrate the bounds of the detector's table next to what simulated senders show, and how near these come to a conviction
#             (10 minutes; CALIBRATE=--quick: two)
# make gate TABLE=FILE  refuse a proposed table of rates that makes a goal of the evaluation worse (GATE=--quick: two minutes)
# make fleet  a collector with its page, and simulated routers that report to it, until Ctrl-C (FLEET="--routers 500")
# make rollout  a bad policy at 10 permille and its halt, on 100,000 simulated routers: on how many it counted, and for how
#             long (5 minutes; ROLLOUT="--routers 2000")
# make sso    the login to the fleet page by npm's oidc-provider (node and npm; needs a package registry)
# make record record pcaps/ again (root)
# make coverage  the tests once more, with every line and branch counted (a third slower; fails below the floor)
# make pythons  the tests without servers and labs on each other Python from 3.10 on that is installed
# make ipk    the OpenWrt packages, without an SDK, for a release of OpenWrt (OPENWRT=24.10; PYTHON=3.11 for its Python)
# make site   the documents as a site, in build/site
# make man    the manual pages and completions for shells, in build/man
# make cut VERSION=0.2.0  make [Unreleased] of the CHANGELOG a version's section, and state the version in each place
# make release  all that is published of a version, with checksums, a bill of materials and a signature; the same bytes
#             each time (CPE_FILTER_SIGNIFY_KEY=FILE; RELEASE=--unreleased before a version is cut)
# make deb    the Debian package of the ISP's side, on Debian or Ubuntu, for its own release (debhelper, dh-python)
# make dist   the release's source archive, and the recipe that downloads it, for OpenWrt's packages feed
# make lock   requirements/ anew, within pyproject.toml's ranges (uv; needs a package registry)
# make conformance  what replay reads in captures next to what tshark reads, session by session, and why they differ (Debian's
#             tshark; CPE_FILTER_CAPTURES=FOLDER: more captures; 4 minutes; CONFORMANCE=--quiet: only what has no explanation)
# make peers  real mail programs talk through the lab, and their logs are compared with what the filter saw (root; Debian)

PYTHON = .venv/bin/python

.PHONY: demo test lint docs bench icount fuzz faults attacks live lines turnaround mutation vm stock coverage pythons evaluate calibrate gate fleet rollout sso record ipk deb cut release dist peers conformance lock man site clean

# Tests whose bounds on time hold on an idle machine: `make test` waits longer.
TIMED = tests/faults/test_faults.py tests/live/test_live_outlook.py tests/notice/test_live_notice.py \
	tests/report/test_reporter.py tests/bench/test_bench.py tests/bench/test_cost.py

FUZZ_RUNS ?= 2000000
FUZZ_PACKETS ?= 1000000

# By the system's own Python, unless there is one with all that the tests need.
demo:
	@.ci/setup demo
	@if [ -e .venv/.installed-test ]; then exec $(PYTHON) -m tests.lab.demo $(DEMO); else exec python3 -m tests.lab.demo $(DEMO); fi

test:
	@.ci/setup test
	@$(PYTHON) -m pytest -n auto $(PYTEST)

lint:
	@.ci/setup test
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .
	@.venv/bin/mypy && .venv/bin/mypy openwrt/cpe-filter/compact.py
	@out=$$(.venv/bin/lint-imports --no-cache) || { printf '%s\n' "$$out"; exit 1; }
	@.venv/bin/codespell cpe_filter docs openwrt tools .ci Makefile *.md
	@$(PYTHON) -m tools.style

docs:
	@.ci/setup test
	@$(PYTHON) -m tests.documents
	@$(PYTHON) -m tools.data_model

bench:
	@.ci/setup test
	@$(PYTHON) -m tests.bench.engine
	@$(PYTHON) -m tests.bench.linear
	@$(PYTHON) -m tests.bench.replay_memory
	@$(PYTHON) -m tests.bench.collector $(BENCH)
	@$(PYTHON) -m tests.bench.cost $(BENCH)
	@$(PYTHON) -m tests.bench.conviction
	@CPE_FILTER_BOUNDS=required $(PYTHON) -m pytest $(TIMED)

icount:
	@.ci/setup test
	@$(PYTHON) -m tests.vm.kernel
	@$(PYTHON) -m tests.vm.cost $(ICOUNT)

# Eight targets, so many inputs each.
fuzz:
	@.ci/setup test
	@$(PYTHON) -m tests.fuzz.run --runs $(FUZZ_RUNS)
	@$(PYTHON) -m tests.fuzz.encapsulated --count $(FUZZ_PACKETS)

faults:
	@.ci/setup test
	@$(PYTHON) -m tests.faults $(FAULTS)

attacks:
	@.ci/setup test
	@ATTACKS=all $(PYTHON) -m pytest --tb=line tests/attacks $(ATTACK)

live:
	@.ci/setup test
	@ATTACKS=all $(PYTHON) -m pytest --tb=short -n auto tests/live tests/send/test_live_notice.py tests/notice

lines:
	@.ci/setup test
	@$(PYTHON) -m tests.lab.lines --write $(LINES)

# Of the tests' own process: what runs in a lab's namespaces or in children is not counted. The floor may only rise.
COVERAGE_FLOOR = 85

coverage:
	@.ci/setup test
	@$(PYTHON) -m pytest -n auto --cov=cpe_filter --cov-branch --cov-report=term:skip-covered \
		--cov-fail-under=$(COVERAGE_FLOOR) $(PYTEST)

pythons:
	@.ci/setup test
	@.ci/pythons

mutation:
	@.ci/setup test
	@$(PYTHON) -m tools.mutate $(MUTATE)

turnaround:
	@.ci/setup test
	@$(PYTHON) -m tests.lab.turnaround $(TURNAROUND)

vm:
	@.ci/setup test
	@VM=all $(PYTHON) -m pytest --tb=short tests/vm

stock:
	@.ci/setup test
	@STOCK=all $(PYTHON) -m pytest --tb=short -rP tests/stock

evaluate:
	@.ci/setup test
	@$(PYTHON) -m tests.evaluate.world --mode all --published $(EVALUATE)

# A table that `cpe-filter collector calibrate` has proposed.
gate:
	@.ci/setup test
	@$(PYTHON) -m tests.evaluate.gate $(TABLE) $(GATE)

calibrate:
	@.ci/setup test
	@$(PYTHON) -m tests.evaluate.calibrate $(CALIBRATE)

fleet:
	@.ci/setup fleet
	@$(PYTHON) -m tests.fleet $(FLEET)

rollout:
	@.ci/setup test
	@$(PYTHON) -m tests.fleet.rollout $(ROLLOUT)

sso:
	@.ci/setup test
	@npm ci --silent --no-audit --no-fund --prefix tests/collect/web/oidc_provider
	@$(PYTHON) -m pytest tests/collect/web/test_live_oidc.py

record:
	@.ci/setup test
	@$(PYTHON) -m tests.lab.record

# PYTHON is ours in this file; of the command line it is the router's.
ipk:
	@.ci/setup ipk
	@.venv/bin/python -m tools.ipk $(if $(OPENWRT),--openwrt $(OPENWRT)) $(if $(filter command,$(origin PYTHON)),--python $(PYTHON))

cut:
	@.ci/setup ipk
	@.venv/bin/python -m tools.cut $(VERSION)

release:
	@.ci/setup test
	@.venv/bin/python -m tools.release $(RELEASE)

deb:
	@.ci/setup ipk
	@.venv/bin/python -m tools.deb

dist:
	@.ci/setup ipk
	@.venv/bin/python -m tools.dist

conformance:
	@.ci/setup conformance
	@$(PYTHON) -m tests.conformance $(CONFORMANCE)

peers:
	@.ci/setup test
	@$(PYTHON) -m tests.lab.peers

# One resolution for Python 3.10 to the newest, with environment markers; pip takes no package that has another hash.
UV_LOCK = uv pip compile --universal --python-version 3.10 --generate-hashes --no-header --no-annotate --quiet \
	--no-emit-package cpe-filter

lock:
	$(UV_LOCK) pyproject.toml --extra test --extra lint requirements/build.in requirements/bench-build.in -o requirements/test.txt
	$(UV_LOCK) pyproject.toml --extra collector requirements/build.in -c requirements/test.txt -o requirements/collector.txt
	$(UV_LOCK) requirements/pure.in -c requirements/test.txt -o requirements/pure.txt
	$(UV_LOCK) requirements/bench.in -c requirements/test.txt -o requirements/bench.txt
	$(UV_LOCK) requirements/site.in -c requirements/test.txt -o requirements/site.txt
	$(UV_LOCK) requirements/node.in -o requirements/node.txt
	$(UV_LOCK) requirements/man.in -c requirements/test.txt -o requirements/man.txt
	$(UV_LOCK) requirements/release.in -o requirements/release.txt
	$(UV_LOCK) pyproject.toml --extra replay requirements/build.in -c requirements/test.txt -o requirements/replay.txt

site:
	@.ci/setup test
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet

man:
	@.ci/setup test
	@$(PYTHON) -m tools.man build/man

clean:
	rm -rf .venv .venv-* build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
