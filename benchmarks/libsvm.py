"""Whether a difference between two variants is the same under LIBSVM, which the paper cites, on the features of a run.

    python -m benchmarks.libsvm el erm --targets lowres digits --shots 50

LIBSVM's ``SVC(kernel="linear")`` has the hinge loss, not its square, one classifier for each pair of classes, and an
intercept without penalty. The rest is the pipeline's protocol: standardised features, C by stratified cross-validation
on the training part, refit, the test part once. Prints a CSV of test accuracies in %, means over the seeds, and of the
difference with its 95% interval over them (Student's t).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.svm import SVC
from tqdm import tqdm

from benchmarks.svm import reference
from hrrl.transfer.svm import draws, evaluate

FEATURES = Path("data/features")


def scores(file: Path, shots: int | None, folds: int) -> dict[str, float]:
    """The accuracies of one model's features on one target, by both."""
    with np.load(file) as found:
        train_x, train_y, test_x, test_y = (found[name] for name in ("train_x", "train_y", "test_x", "test_y"))
    (rows,) = draws(train_y, shots, 1)
    data = train_x[rows], train_y[rows], test_x, test_y
    theirs = reference(SVC(kernel="linear", cache_size=1000), *data, folds)
    return {"hrrl": evaluate(*data, folds=folds).accuracy, "LIBSVM": theirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("better", help="a variant with features in data/features")
    parser.add_argument("than", help="another, with the same seeds")
    parser.add_argument("--targets", nargs="+", required=True)
    parser.add_argument("--shots", type=int, help="training images of each class; else all")
    parser.add_argument("--folds", type=int, default=5)
    args = parser.parse_args()
    seeds = sorted(int(folder.name.partition("-")[2]) for folder in FEATURES.glob(f"{args.better}-*"))
    rows = [
        {"target": target, "seed": seed, "variant": variant}
        | scores(FEATURES / f"{variant}-{seed}" / f"{target}.npz", args.shots, args.folds)
        for target in args.targets
        for seed in tqdm(seeds, desc=target)
        for variant in (args.better, args.than)
    ]
    found = pd.DataFrame(rows).melt(["target", "seed", "variant"], var_name="by", value_name="accuracy")
    by_variant = found.pivot(index=["target", "by", "seed"], columns="variant", values="accuracy")
    table = by_variant.groupby(["target", "by"]).mean()
    differences = (by_variant[args.better] - by_variant[args.than]).groupby(["target", "by"])
    table["difference"] = differences.mean()
    half = differences.sem() * stats.t.ppf(0.975, len(seeds) - 1)
    table["low"], table["high"], table["seeds"] = table.difference - half, table.difference + half, len(seeds)
    table.round(2).to_csv(sys.stdout)


if __name__ == "__main__":
    main()
