# wsvis: every command works on a bare machine; the first one that needs it builds .venv.
.DEFAULT_GOAL := help
.PHONY: help install demo test test-slurm docs bench lint lock clean

VENV := .venv
BIN := $(VENV)/bin
CORES ?= $(shell nproc 2>/dev/null || echo 2)
# Jobs that can use a GPU share the GPUs there are; without one they are ordinary CPU jobs.
GPUS := $(shell nvidia-smi -L 2>/dev/null | grep -c GPU)
GPU_SLOTS := $(if $(filter-out 0,$(GPUS)),$(GPUS),$(CORES))
# Small networks and frames gain nothing from a second thread, and two jobs of two threads each slow each other down.
DEMO_THREADS ?= 1
DEMO_RULES := train_cam train_flowirn train_maskconsist make_label_maps make_pseudo_labels

help:
	@echo "make demo     tracked masks and a report from generated videos (minutes, no download of data)"
	@echo "make test     the whole test suite"
	@echo "make install  only build .venv from requirements.lock"
	@echo "make test-slurm  the workflow on a real SLURM on this machine (root, Debian)"
	@echo "make lint     ruff, snakefmt and snakemake --lint"
	@echo "make docs     the documentation as a site: site/index.html"
	@echo "make bench    speed benchmarks"
	@echo "make lock     pin today's versions in requirements.lock"
	@echo "make clean    remove results, logs and generated data (keeps .venv)"

install: $(VENV)/installed

$(VENV)/installed: requirements.lock pyproject.toml
	@./tools/make_venv.sh $(VENV)
	@touch $@

demo: install
	$(BIN)/snakemake --cores $(CORES) --resources gpu=$(GPU_SLOTS) \
	  --set-threads $(foreach rule,$(DEMO_RULES),$(rule)=$(DEMO_THREADS)) \
	  -- results/demo_vis.json results/demo_report.html
	@echo "Open results/demo_report.html in a browser; the tracks are in results/demo_vis.json."

test: install
	@./tools/find_chromium.sh
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadgroup \
	  --cov --cov-report=term:skip-covered --cov-fail-under=85
	@$(MAKE) --no-print-directory lint

# A throw-away SLURM from Debian packages, as root; elsewhere the tests skip and say why.
test-slurm: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs -o addopts=--import-mode=importlib tests/slurm

# Strict: a link that leads nowhere, or a page that is not in mkdocs.yml's nav, is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html in a browser."

bench: install
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.run

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint

lock: install
	$(BIN)/python -m pip install -q uv
	(echo "# Pinned versions of everything \`make install\` puts into .venv. Written by \`make lock\`."; \
	  $(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --no-annotate --no-header -q) > requirements.lock.tmp
	mv requirements.lock.tmp requirements.lock

clean:
	rm -rf results logs data/demo data/bench .snakemake site
