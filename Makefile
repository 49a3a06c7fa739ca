# `make quickstart` and `make test` each work as the first command on a fresh clone.
PYTHON ?= python3.11
VENV ?= .venv
LOCK ?= requirements/cpu.lock
GPU_PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(notdir $(LOCK))
PYTEST := $(BIN)/python -m pytest

.PHONY: setup setup-evals setup-lm-eval bench-lm-eval bubblewrap chromium report-check quickstart test check bench bench-curriculum bench-curriculum-smollm2 bench-judges bench-stages bench-resume bench-processes bench-process-kills bench-rewards gpu-check gpu-check-full fuzz clean

setup: $(STAMP) bubblewrap

# The sandbox for the verifier `code`, whose tests fail without it; everything else works.
bubblewrap:
	@command -v bwrap > /dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	  && { apt-get install -qq -y bubblewrap || { apt-get update -qq && apt-get install -qq -y bubblewrap; }; }; } \
	|| echo "The verifier code needs bubblewrap. Install it as root: apt-get install bubblewrap (docs/code.md)" >&2

$(STAMP): $(LOCK) pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(LOCK)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Data of suites that is heavy, and that nothing else needs (docs/evaluation.md).
setup-evals: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/evals.lock

# lm-evaluation-harness, for `uphill eval --lm-eval` (docs/evaluation.md); it changes no other version.
setup-lm-eval: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/lm-eval.lock

quickstart: setup
	$(BIN)/uphill run recipes/quickstart.yaml

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini

# Two processes, each with half of the cores; a file's tests stay together (tests/conftest.py).
test: check
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder

# Half an hour at most; interrupted, it goes on with what is missing.
bench: setup
	$(BIN)/python -m benchmarks.moe

# Does each stage earn its place? Two hours or more; interrupted, it goes on with the next arm. Two processes, each on
# one core of its own.
bench-stages: bench-curriculum
	OMP_NUM_THREADS=1 taskset -c 0 $(BIN)/python -m benchmarks.stages judge --share 0/2 & \
	OMP_NUM_THREADS=1 taskset -c 1 $(BIN)/python -m benchmarks.stages judge --share 1/2 && wait
	OMP_NUM_THREADS=1 taskset -c 0 $(BIN)/python -m benchmarks.stages arms --share 0/2 & \
	OMP_NUM_THREADS=1 taskset -c 1 $(BIN)/python -m benchmarks.stages arms --share 1/2 && wait
	$(BIN)/python -m benchmarks.stages summary

# The kinds of curriculum on the pools of bench-stages; an hour or two.
bench-curriculum: setup
	$(BIN)/python -m benchmarks.stages start
	for setting in mostly_solved mostly_out_of_reach; do \
	OMP_NUM_THREADS=1 taskset -c 0 $(BIN)/python -m benchmarks.curriculum --setting $$setting --share 0/2 & \
	OMP_NUM_THREADS=1 taskset -c 1 $(BIN)/python -m benchmarks.curriculum --setting $$setting --share 1/2 && wait; \
	done
	$(BIN)/python -m benchmarks.curves

# The same on SmolLM2 as a mixture of experts: three kinds, 3 seeds.
bench-curriculum-smollm2: setup
	$(BIN)/uphill run benchmarks/recipes/curriculum-smollm2.yaml --runs-dir runs/bench-curriculum-smollm2/start
	OMP_NUM_THREADS=1 taskset -c 0 $(BIN)/python -m benchmarks.curriculum --setting smollm2 --share 0/2 & \
	OMP_NUM_THREADS=1 taskset -c 1 $(BIN)/python -m benchmarks.curriculum --setting smollm2 --share 1/2 && wait
	$(BIN)/python -m benchmarks.curves

# Ten minutes; interrupted, it goes on with what is missing.
bench-judges: setup
	$(BIN)/uphill run benchmarks/recipes/curriculum.yaml --runs-dir runs/bench-curriculum/start
	$(BIN)/python -m benchmarks.judges
	$(BIN)/python -m benchmarks.hostile

# Half an hour or more; interrupted, it goes on with the next trial. Two processes, each on one core of its own.
bench-resume: setup
	$(BIN)/python -m benchmarks.resume whole
	OMP_NUM_THREADS=1 taskset -c 0 $(BIN)/python -m benchmarks.resume trials --share 0/2 & \
	OMP_NUM_THREADS=1 taskset -c 1 $(BIN)/python -m benchmarks.resume trials --share 1/2 && wait
	$(BIN)/python -m benchmarks.resume summary
	$(BIN)/python -m benchmarks.interruptions

# Half an hour: RL in four layouts of processes, four seeds; interrupted, it goes on with what is missing.
bench-processes: setup
	$(BIN)/python -m benchmarks.processes

# An hour: SIGKILL of training processes, servers and runner; interrupted, it goes on with the next trial.
bench-process-kills: setup
	$(BIN)/python -m benchmarks.process_kills

# Forty minutes; interrupted, it goes on with the next run. Two processes, each on one core of its own.
bench-rewards: setup
	$(BIN)/python -m benchmarks.rewards demonstrations
	OMP_NUM_THREADS=1 taskset -c 0 $(BIN)/python -m benchmarks.rewards judges --share 0/2 & \
	OMP_NUM_THREADS=1 taskset -c 1 $(BIN)/python -m benchmarks.rewards judges --share 1/2 && wait
	OMP_NUM_THREADS=1 taskset -c 0 $(BIN)/python -m benchmarks.rewards arms --share 0/2 & \
	OMP_NUM_THREADS=1 taskset -c 1 $(BIN)/python -m benchmarks.rewards arms --share 1/2 && wait
	$(BIN)/python -m benchmarks.rewards summary

# Our scores against those of lm-evaluation-harness; ten minutes.
bench-lm-eval: setup-lm-eval
	$(BIN)/python -m benchmarks.lm_eval_agreement

# A browser, for report-check alone.
chromium:
	@command -v chromium > /dev/null || command -v chromium-browser > /dev/null || command -v google-chrome > /dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null \
	  && { apt-get install -qq -y chromium || { apt-get update -qq && apt-get install -qq -y chromium; }; }; } \
	|| echo "report-check needs Chromium. Install it as root: apt-get install chromium" >&2

# Reports in a browser: a minute or two.
report-check: setup chromium
	$(BIN)/python -m benchmarks.report_check

# Eight minutes at most on one GPU, with the machine's own torch, transformers, accelerate and peft: nothing is installed.
gpu-check:
	$(GPU_PYTHON) -m benchmarks.gpu_check --out benchmarks/results/gpu_check.json

# The quickstart on a GPU, in an environment made from the GPU lock.
gpu-check-full:
	$(MAKE) setup LOCK=requirements/gpu.lock VENV=.venv-gpu
	.venv-gpu/bin/uphill run recipes/quickstart.yaml --runs-dir runs/gpu-check

# Half an hour: damaged recipes and prompt files through whole runs. `make test` does a few.
fuzz: setup
	UPHILL_FUZZ=1000 $(PYTEST) -s tests/pipeline/execution/test_fuzz_runs.py

clean:
	rm -rf $(VENV) runs
