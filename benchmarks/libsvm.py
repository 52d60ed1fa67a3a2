"""What the score would be with LIBSVM, which the paper cites, on the real features of a run.

    python -m benchmarks.libsvm data/features/erm-0 [TARGET ...]

LIBSVM's ``SVC(kernel="linear")`` has the hinge loss, not its square, one classifier for each pair of classes, and an
intercept without penalty. The rest is the pipeline's protocol: standardised features, C by stratified cross-validation
on the training part, refit, the test part once. Prints test accuracies in % and their difference.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from hrrl.transfer.svm import GRID, draws, evaluate


def libsvm(train_x, train_y, test_x, test_y, folds: int, seed: int) -> float:
    """Test accuracy in %."""
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    pipeline = make_pipeline(StandardScaler(), SVC(kernel="linear", cache_size=1000))
    search = GridSearchCV(pipeline, {"svc__C": GRID}, cv=parts)
    return 100 * search.fit(train_x, train_y).score(test_x, test_y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", type=Path, help="the folder of a model's features")
    parser.add_argument("targets", nargs="*", help="some of them; else all")
    parser.add_argument("--shots", type=int, help="training images of each class; else all")
    parser.add_argument("--folds", type=int, default=5)
    args = parser.parse_args()
    for target in args.targets or sorted(file.stem for file in args.features.glob("*.npz")):
        with np.load(args.features / f"{target}.npz") as file:
            train_x, train_y, test_x, test_y = (file[name] for name in ("train_x", "train_y", "test_x", "test_y"))
        (rows,) = draws(train_y, args.shots, 1)
        data = train_x[rows], train_y[rows], test_x, test_y
        ours, start = evaluate(*data, folds=args.folds).accuracy, time.perf_counter()
        theirs = libsvm(*data, args.folds, seed=0)
        seconds = time.perf_counter() - start
        print(
            f"{target:16} hrrl {ours:6.2f}   LIBSVM {theirs:6.2f}   {theirs - ours:+.2f}   ({seconds:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
