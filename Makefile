# make repro: set up everything and run the pipeline to the report. make test: the tests. make lint: ruff and mypy.
BASE := origin/main       # what a pull request is compared with
BIN := .venv/bin
# What the environment calls so is another's (SUSE exports a CPU, npm's packages JOBS, modules of clusters a PYTHONPATH).
$(foreach name,ALL CELLS CPU DATASET JOBS N QUALITY RUN SAMPLE SIDE VARIANT,$(eval $(name) :=))
unexport PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONWARNINGS

.PHONY: repro submit cancel open verify keep experiments compare relist pack test lint smoke comment setup setup-test bench bench-compare chaos fuzz mutants

repro: setup             # JOBS=4: cells that run side by side; without it as machine.yaml says, or two
	@$(BIN)/python -m scripts.repro $(addprefix --jobs ,$(JOBS))

submit: setup            # make repro as a job of SLURM, which submits the cells (docs/cluster.md)
	@$(BIN)/python -m stages.slurm submit

cancel:                   # ends that job and those of the cells
	@$(BIN)/python -m stages.slurm cancel

verify: setup            # makes cells of a committed run again: RUN=photos CELLS="pretrain@erm-0" N=3 CPU=Haswell
	@$(BIN)/python -m scripts.verify $(RUN) $(if $(CELLS),--cells $(CELLS)) $(if $(N),--number $(N)) $(if $(CPU),--cpu $(CPU))

open:                     # the report of the params.yaml of the moment, in a browser
	@$(BIN)/python -c "import sys, webbrowser; from pathlib import Path; \
		file = Path('reports/report.html').absolute(); \
		file.exists() or sys.exit(f'{file} is not there: make repro writes it'); \
		webbrowser.open(file.as_uri()) or sys.exit(f'no browser is here to show {file}')"

test: setup setup-test
	@$(BIN)/python -m pytest -n 3 --no-loadscope-reorder

lint: .venv/installed
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/python -m mypy

smoke:                   # every stage once, by `make repro`; then what git has is as committed
	cp presets/smoke.yaml params.yaml
	$(MAKE) --no-print-directory repro
	test -s reports/report.html
	git checkout -q params.yaml dvc.lock reports

comment: setup           # comment.md: what a pull request changes in the results that are committed at BASE
	@$(BIN)/python -m scripts.summary $(BASE) > comment.md

bench: setup             # ratios against plain references, taken in one run: benchmarks/results.json
	@$(BIN)/python -m benchmarks.run

bench-compare: setup     # the same, against the committed file
	@$(BIN)/python -m benchmarks.run --compare

fuzz: setup              # damaged and hostile files for a minute a test, or FUZZ=seconds
	@FUZZ=$(or $(FUZZ),60) $(BIN)/python -m pytest tests/test_fuzz.py

chaos: setup             # kills a running pipeline at random moments, 50 times: benchmarks/chaos.json
	@$(BIN)/python -m benchmarks.chaos

mutants: setup           # mistakes put into the modules that differ from BASE, or ALL=1: benchmarks/mutants.json; SAMPLE=40 of each
	@$(BIN)/python -m benchmarks.mutants --base $(BASE) $(if $(ALL),--all) $(if $(SAMPLE),--sample $(SAMPLE))

compare:                  # experiments by validation accuracy; VARIANT=el: of another variant than the headline
	@$(BIN)/python -m scripts.compare $(VARIANT)

keep:                     # results/<name>/: of the experiment that just ran, what the documents show
	@$(BIN)/python -m scripts.keep

experiments:              # dvc exp show, with the params that differ and the scores alone
	@$(BIN)/python -m dvc exp show --only-changed --drop '^(data|hrrl|stages|models|reports|groupings)' --no-pager

relist: setup            # after images or a concepts' CSV changed: lists them anew, then `make repro`
	@$(BIN)/python -m scripts.relist

pack: setup              # data/packed/: a dataset's images smaller, in one zip, for DATASET=name; SIDE=256 QUALITY=90
	@$(BIN)/python -m scripts.pack $(DATASET) $(if $(SIDE),--side $(SIDE)) $(if $(QUALITY),--quality $(QUALITY))

setup: .venv/installed
	@sh scripts/system-packages.sh wordnet-base dataset-fashion-mnist
	@$(BIN)/python -m scripts.plots_page

setup-test:
	@sh scripts/system-packages.sh chromium qemu-user slurm-wlm munge

.venv/installed: requirements.txt constraints.txt
	@sh scripts/venv.sh
	@touch $@
