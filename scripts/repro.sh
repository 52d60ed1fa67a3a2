#!/bin/sh
# dvc repro, with the independent cells of each stage side by side: sh scripts/repro.sh JOBS
set -eu
jobs=$1
dvc=.venv/bin/dvc
.venv/bin/python -m hrrl.params
.venv/bin/python -m scripts.keep_outputs
.venv/bin/python -m scripts.relist
if $dvc status --quiet; then
    echo "Nothing to do: params, code and data are those of the last run. Report: reports/$(sed -n 's/^name: *\([a-z0-9_]*\).*/\1/p' params.yaml)/report.html"
    exit 0
fi
for stage in resolve manifest-benchmark manifest-target concepts search select pretrain card features svm finetune robustness; do
    $dvc stage list --name-only $stage | xargs -P "$jobs" -I{} $dvc --wait-for-lock repro --single-item {}
done
$dvc repro
