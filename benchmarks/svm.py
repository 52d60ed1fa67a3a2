"""Time of the linear SVM's protocol (five C's, selection, refit, test) against plain ``LinearSVC`` calls.

    python -m benchmarks.svm                    the paper's size, 50,000 x 512 and 10 classes: 12 to 20 minutes a round
    python -m benchmarks.svm --small            5,000 x 512: a minute and a half a round
    python -m benchmarks.svm --features F.npz   real features: train_x, train_y, test_x, test_y
    python -m benchmarks.svm --fit              one fit at C = 1, of the estimator hrrl.LinearSVM

Almost all of the time of either is in passes over the features: products with them and with their transpose.
``LinearSVC`` makes them for one class and one C at a time, on one core, on rows of (index, double) pairs. Ours
makes them for all classes at once, as float32 matrix products on blocks that stay in cache, on all cores; and the
Gram matrix as preconditioner and warm starts over C leave some 200 passes for all five C's and the refit.
"""

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from hrrl.transfer.linear_svm import LinearSVM
from hrrl.transfer.svm import GRID, evaluate

FOLDS = 2  # the pipeline's five only take longer, both ways


def features(n: int = 50_000, d: int = 512, classes: int = 10, m: int = 10_000, seed: int = 0):
    """Like a network's last features: not negative, correlated, 75 to 80% of them classified rightly.

    Returns:
        (n, d), (n,), (m, d), (m,): features and labels for training and test.
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((classes, 64)) * 0.34
    mixing = rng.standard_normal((64, d)).astype(np.float32) / 8
    y = rng.integers(0, classes, n + m)
    latent = (centres[y] + rng.standard_normal((n + m, 64))).astype(np.float32)
    x = np.maximum(latent @ mixing + rng.standard_normal((n + m, d), dtype=np.float32) / 2 - 0.5, 0)
    return x[:n], y[:n], x[n:], y[n:]


def reference(train_x, train_y, test_x, test_y) -> float:
    """Test accuracy in %, by the same protocol as anyone would write it."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    search = GridSearchCV(make_pipeline(StandardScaler(), LinearSVC()), {"linearsvc__C": GRID}, cv=folds)
    return 100 * search.fit(train_x, train_y).score(test_x, test_y)


def one_fit(model):
    """A protocol of one fit on standardised features: the test accuracy in %."""

    def protocol(train_x, train_y, test_x, test_y) -> float:
        return 100 * make_pipeline(StandardScaler(), model).fit(train_x, train_y).score(test_x, test_y)

    return protocol


def five_fits(*data) -> float:
    """The pipeline's protocol: the test accuracy in %."""
    return evaluate(*data, GRID, FOLDS).accuracy


def timed(function, *args):
    """What a call returns, and its seconds."""
    start = time.perf_counter()
    return function(*args), time.perf_counter() - start


def run(rounds: int = 5, n: int = 50_000, data=None, ours=five_fits, theirs=reference) -> dict:
    """One after the other, ``rounds`` times: seconds of each, ratios (reference / hrrl), accuracies in %."""
    data = data or features(n)
    ours(*(part[:500] for part in data))  # start threads and libraries
    result = {"ratio": [], "seconds": [], "reference_seconds": []}
    for _ in range(rounds):
        accuracy, seconds = timed(ours, *data)
        reference_accuracy, reference_seconds = timed(theirs, *data)
        result["seconds"].append(seconds)
        result["reference_seconds"].append(reference_seconds)
        result["ratio"].append(reference_seconds / seconds)
    return result | {"accuracy": accuracy, "reference_accuracy": reference_accuracy}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="5,000 training examples instead of 50,000")
    parser.add_argument("--features", type=Path, help="npz file of real features instead of made ones")
    parser.add_argument("--fit", action="store_true", help="one fit at C = 1 instead of the protocol")
    args = parser.parse_args()
    data = None
    if args.features:
        with np.load(args.features) as file:
            data = [file[name] for name in ("train_x", "train_y", "test_x", "test_y")]
    protocols = {"ours": one_fit(LinearSVM()), "theirs": one_fit(LinearSVC(dual=False))} if args.fit else {}
    result = run(args.rounds, n=5_000 if args.small else 50_000, data=data, **protocols)
    for ours, theirs, ratio in zip(result["seconds"], result["reference_seconds"], result["ratio"], strict=True):
        print(f"hrrl {ours:8.2f} s   LinearSVC {theirs:8.2f} s   ratio {ratio:6.1f}")
    print(f"median ratio {median(result['ratio']):.1f}")
    print(f"accuracy: hrrl {result['accuracy']:.2f}%   LinearSVC {result['reference_accuracy']:.2f}%")


if __name__ == "__main__":
    main()
