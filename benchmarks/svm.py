"""Time of the linear SVM's protocol (five C's, selection, refit, test) against plain ``LinearSVC`` calls.

At the paper's size, 50,000 x 512 and 10 classes, 12 to 20 minutes a round; small, 5,000 x 512, a minute and a half.
Almost all of the time of either is in passes over the features: products with them and with their transpose.
``LinearSVC`` makes them for one class and one C at a time, on one core, on rows of (index, double) pairs. Ours
makes them for all classes at once, as float32 matrix products on blocks that stay in cache, on all cores; and the
Gram matrix as preconditioner and warm starts over C leave some 200 passes for all five C's and the refit.
"""

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from benchmarks.axes import seconds
from hrrl.transfer.svm import GRID, evaluate

FOLDS = 2  # the pipeline's five only take longer, both ways


def results(rounds: int, small: bool) -> dict:
    """One after the other, ``rounds`` times: the time of the reference over ours."""
    data, ratios = features(5_000 if small else 50_000), []
    evaluate(*(part[:500] for part in data), GRID, FOLDS)  # start threads and libraries
    for _ in range(rounds):
        ours = seconds(lambda: evaluate(*data, GRID, FOLDS))
        ratios.append(seconds(lambda: reference(LinearSVC(), *data)) / ours)
    return {"values": {"svm_vs_reference": ratios}}


def features(n: int, d: int = 512, classes: int = 10, m: int = 10_000, seed: int = 0):
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


def reference(classifier, train_x, train_y, test_x, test_y, folds: int = FOLDS) -> float:
    """Test accuracy in %, by the same protocol as anyone would write it."""
    parts = StratifiedKFold(folds, shuffle=True, random_state=0)
    pipeline = Pipeline([("scaler", StandardScaler()), ("svm", classifier)])
    search = GridSearchCV(pipeline, {"svm__C": GRID}, cv=parts)
    return 100 * search.fit(train_x, train_y).score(test_x, test_y)
