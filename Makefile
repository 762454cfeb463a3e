# make demo: the main job on real footage · make test · make lint · make bench · make bench-peers · make bench-scale · make release
# Each makes .venv by itself where it is missing. PYTHON picks the interpreter to make it with.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt

.PHONY: demo test test-all lint bench bench-peers bench-scale bench-dedup bench-ways bench-page ffmpeg test-files test-cluster test-s3 test-kill chaos corpus soak test-nights test-exports test-upkeep test-tutorials test-airflow test-report test-vllm test-spark41 fuzz audit vendor gpu-kit tiny-models update-constraints release clean

demo: $(VENV)/demo | prepare
	$(BIN)/python -m jobs.demo

QUICK := not files and not soak and not corpus and not chaos and not kill and not cluster and not nights and not exports and not upkeep and not tutorials and not s3 and not report and not vllm

# Files of tests are dealt to processes, each with a Spark session of its own, which waits half of the time for its JVM.
WORKERS ?= 3
SIDE_BY_SIDE = $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
test: $(VENV)/dev | prepare
	$(SIDE_BY_SIDE) -m "$(QUICK)"

# Every suite, one after the other; all of them run whatever the first ones say.
test-all:
	@failed=; for suite in test test-files test-cluster test-s3 test-kill chaos corpus soak test-nights test-upkeep test-exports test-tutorials test-report test-airflow test-vllm; do \
	  echo "== make $$suite"; $(MAKE) $$suite || failed="$$failed $$suite"; \
	done; if [ -n "$$failed" ]; then echo "failed:$$failed"; exit 1; fi; echo "every suite passed"

# Every container, codec and oddity of its times, sound and picture.
test-files: $(VENV)/dev | java
	$(BIN)/pytest -s -m files

# Mutants of good files of every codec and container through the whole chain: 500 for each of 4 seeds.
CORPUS_SEEDS ?= 4
MUTANTS ?= 500
corpus: $(VENV)/dev | java
	REELMILL_CORPUS_SEEDS=$(CORPUS_SEEDS) REELMILL_MUTANTS=$(MUTANTS) $(BIN)/pytest -s -m corpus

# Says how many tasks shared each GPU, how often models were loaded, and how decoding and inference overlapped; then the main job
# on a standalone cluster, of which a worker is killed.
test-cluster: $(VENV)/dev | java
	$(BIN)/pytest -s -m cluster

# On a real S3 server of its own; says how many bytes were read of a large file, and what faults befell a run.
test-s3: $(VENV)/dev | java
	$(BIN)/pytest -s -m s3

test-kill: $(VENV)/dev | java
	$(BIN)/pytest -m kill

# Processes killed, disks filled and second runs at seeded moments: 20 seeds, or as many as SEEDS says.
SEEDS ?= 20
chaos: $(VENV)/dev | java
	REELMILL_CHAOS_SEEDS=$(SEEDS) $(BIN)/pytest -s -m chaos

# Memory, open files, commits and times of a run of 100 waves of 20 videos, or as WAVES and VIDEOS say; from 50 waves on the second half
# is warm.
WAVES ?= 100
VIDEOS ?= 20
soak: $(VENV)/dev | java
	REELMILL_SOAK_WAVES=$(WAVES) REELMILL_SOAK_VIDEOS=$(VIDEOS) $(BIN)/pytest -s -m soak

test-nights: $(VENV)/dev | prepare
	$(SIDE_BY_SIDE) -m nights

test-upkeep: $(VENV)/dev | prepare
	$(SIDE_BY_SIDE) -m upkeep

test-exports: $(VENV)/dev | prepare
	$(SIDE_BY_SIDE) -m exports

# Every page of docs/tutorials as a notebook in an empty folder, and examples/nightly: what they print must be what the pages say.
test-tutorials: $(VENV)/dev | prepare
	$(BIN)/pytest -m tutorials

# Pages of reports in Debian's Chromium; says how fast they load and scroll. Screenshots land in build/report.
test-report: $(VENV)/dev
	@command -v chromium >/dev/null || { echo "make test-report needs Chromium: apt-get install chromium"; exit 1; }
	$(BIN)/pytest -s -m report

# The chart library of reports, as its makers publish it on npm, beside its license.
UPLOT := 1.6.32
vendor:
	rm -rf build/vendor && mkdir -p build/vendor
	cd build/vendor && npm pack --silent uplot@$(UPLOT) && tar xzf uplot-$(UPLOT).tgz
	cp build/vendor/package/dist/uPlot.iife.min.js build/vendor/package/dist/uPlot.min.css build/vendor/package/LICENSE jobs/reports/static/vendor/

# Airflow's packages would change the versions of others: it has an environment of its own, and the tests ask that.
test-airflow: $(VENV)/dev $(VENV)-airflow/made
	$(BIN)/pytest tests/conf/test_airflow.py

# vLLM itself on the CPU, with tiny models, and `vllm serve`. Its versions of torch and transformers are not ours: it has an
# environment of its own, which runs the tests. Each vLLM takes a GiB for keys and values.
test-vllm: $(VENV)-vllm/made
	@$(VENV)-vllm/bin/python -m jobs.spark.java
	VLLM_CPU_KVCACHE_SPACE=1 $(VENV)-vllm/bin/pytest -s tests/vllm

# Every test with Spark, on the next line of Spark and its Delta Lake (Databricks 18): all packages but these are those of .venv.
SPARK41 := pyspark==4.1.1 delta-spark==4.1.0
test-spark41: $(VENV)-spark41/made
	$(VENV)-spark41/bin/python -m jobs.prepare
	$(VENV)-spark41/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "spark and ($(QUICK))"

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What Reelmill parses itself, with inputs that atheris finds by the branches that they reach: MINUTES in all. One that breaks something
# lies in build/fuzz then; put it into SEEDS of tests/fuzz/targets.py, which make test takes. Atheris has wheels for Python 3.11 to 3.13.
MINUTES ?= 60
fuzz: $(VENV)-fuzz/made
	@targets=$$($(VENV)-fuzz/bin/python -m tests.fuzz 2>/dev/null) && set -- $$targets && for target; do \
	  echo "== $$target"; $(VENV)-fuzz/bin/python -m tests.fuzz $$target -max_total_time=$$(($(MINUTES) * 60 / $$#)) || failed="$$failed $$target"; \
	done; if [ -n "$$failed" ]; then echo "broken:$$failed"; exit 1; fi

# Known weaknesses of the versions in constraints.txt, as PyPI lists them; it fails, too, where one of them cannot be looked up.
audit: $(VENV)-audit/made
	$(VENV)-audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

# Tiny random models of the real classes: what conf/tiny.toml runs every model stage with, on any CPU.
tiny-models: $(VENV)/dev
	$(BIN)/python -m tests.support.tiny .models

# What is measured lands in build/bench, a JSON file per benchmark; bench-page puts it into docs/benchmarks.md.
BENCH = $(BIN)/pytest -s $(addprefix tests/bench/bench_,$(addsuffix .py,$(1)))

# Small whole runs, ours beside ffmpeg, and good files among bad ones: at most 25 minutes.
bench: $(VENV)/bench | prepare ffmpeg
	$(call BENCH,runs ffmpeg probe stream_copy poison)

# Beside NeMo Curator, Daft, Ray Data, rows of PNG frames and a pool of processes; then whole runs that grow. Installs the peers below
# build/peers (1 GB). It takes hours; 85 minutes with REELMILL_BENCH_ROUNDS=1, where each is timed once and not three times.
bench-peers: $(VENV)/bench | java ffmpeg
	$(call BENCH,nemo motion frames pool scaling)

# What others would use in our place, and NeMo Curator's stages do.
ffmpeg:
	@command -v ffmpeg >/dev/null || { echo "the benchmarks beside ffmpeg need the program: apt-get install ffmpeg"; exit 1; }

# Runs and queries over tables of a million clips, or of as many as CLIPS says; ten million take 5 GB of disk.
CLIPS ?= 1000000
bench-scale: $(VENV)/bench | java
	REELMILL_BENCH_CLIPS=$(CLIPS) $(call BENCH,scale)
	$(BIN)/python -m tests.bench.scale

# How well the ways to split and to find copies do; models, observers, previews and packing of tasks by themselves.
bench-ways: $(VENV)/bench | java
	$(call BENCH,cuts copies copies_scale models observers packing preview openh264)

# A folder of less than 60 MiB: copied to a machine with a GPU, without network, its run.py checks decoding, models and rates there.
gpu-kit: $(VENV)/dev
	$(BIN)/python -m tests.gpukit.build build/gpu-kit

bench-page: $(VENV)/bench
	$(BIN)/python -m tests.support.goals --write
	$(BIN)/python -m tests.bench.scale --write

# Duplicates at scale: scikit-learn on the same cores, a night of 1 % new clips, and a million hashes beside decoding.
bench-dedup: $(VENV)/bench | java
	$(BIN)/pytest -s -o python_files='bench_dedup*.py' tests/bench

# One environment; each marker file stands for an extra that has been installed into it.
$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Reelmill needs Python 3.11 or newer: install it, or name it with make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo: $(VENV)/made pyproject.toml constraints.txt
	$(INSTALL) --editable '.[demo]'
	touch $@

$(VENV)/bench: $(VENV)/dev pyproject.toml constraints.txt
	$(INSTALL) --editable '.[bench]'
	touch $@

$(VENV)/dev: $(VENV)/made pyproject.toml constraints.txt
	$(INSTALL) --editable '.[dev,demo,models]'
	touch $@

# The newest versions of everything that pyproject.toml allows, in an environment of their own; run the tests before you commit.
update-constraints:
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/pip install --quiet --editable '.[dev,demo,models,bench,release]'
	{ echo '# The versions that were tested: `make update-constraints` renews them.'; \
	  build/constraints/bin/pip freeze --exclude-editable | LC_ALL=C sort -f; } > constraints.txt

# The wheel and the sdist of the version in pyproject.toml, checked; the wheel runs in an environment without the checkout. Then the tag.
release: $(VENV)/made
	git diff --quiet HEAD || { echo "make release: commit your changes first"; exit 1; }
	rm -rf dist build/release && mkdir -p build/release
	$(INSTALL) --editable ".[release]"
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*
	$(PYTHON) -m venv build/release/venv
	build/release/venv/bin/pip install --quiet --constraint constraints.txt "$$(ls dist/*.whl)[demo]"
	cd build/release && venv/bin/reelmill --version && venv/bin/python -m jobs.demo
	git tag --annotate "v$$($(BIN)/python -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')" \
	  --message "$$(build/release/venv/bin/reelmill --version)"
	@echo "tagged; push it with git push --tags, and dist/ with twine upload"

$(VENV)-airflow/made: $(VENV)/made pyproject.toml
	$(PYTHON) -m venv $(VENV)-airflow
	$(VENV)-airflow/bin/pip install --quiet $$($(BIN)/python -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["airflow"])')
	touch $@

$(VENV)-spark41/made: $(VENV)/dev Makefile
	$(PYTHON) -m venv --clear $(VENV)-spark41
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import site; print(*site.getsitepackages())')')" \
	  > $$($(VENV)-spark41/bin/python -c 'import site; print(*site.getsitepackages())')/rest.pth
	$(VENV)-spark41/bin/pip install --quiet --no-deps $(SPARK41)
	touch $@

$(VENV)-vllm/made: $(VENV)/made pyproject.toml requirements-vllm.txt
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/pip install --quiet --no-deps --requirement requirements-vllm.txt --editable .
	touch $@

$(VENV)-fuzz/made: $(VENV)/dev Makefile
	$(PYTHON) -m venv --clear $(VENV)-fuzz
	echo "import site; site.addsitedir('$$($(BIN)/python -c 'import site; print(*site.getsitepackages())')')" \
	  > $$($(VENV)-fuzz/bin/python -c 'import site; print(*site.getsitepackages())')/rest.pth
	$(VENV)-fuzz/bin/pip install --quiet --no-deps 'atheris>=3,<4'
	touch $@

$(VENV)-audit/made:
	$(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/pip install --quiet 'pip-audit>=2.10,<3'
	touch $@

.PHONY: java prepare
java:
	@$(BIN)/python -m jobs.spark.java

# Once per machine: an archive of Spark's classes, with which each start takes half as long.
prepare: | java
	@$(BIN)/python -m jobs.prepare

clean:
	rm -rf $(VENV) $(VENV)-airflow $(VENV)-vllm $(VENV)-spark41 $(VENV)-fuzz $(VENV)-audit .demo build dist *.egg-info
