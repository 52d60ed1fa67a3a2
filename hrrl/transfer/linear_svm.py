"""The linear SVM as an estimator of scikit-learn: ``LinearSVC``'s classifier, many times as fast."""

import math
import warnings

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from hrrl.errors import UserError
from hrrl.fast.newton import newton


class LinearSVM(ClassifierMixin, BaseEstimator):
    """One-vs-rest linear classifier with squared hinge loss, L2 penalty and a penalised intercept.

    For each class k it minimises ``1/2 |w_k|^2 + C sum_i max(0, 1 - s_ik w_k.x_i)^2``, with s_ik = 1 where example i is
    of class k, else -1, and x with a constant 1 for the intercept: the objective of ``LinearSVC()``, for all classes at
    once by :func:`hrrl.fast.newton.newton`. Features are worked on in float32: standardise them first, as for
    ``LinearSVC``.

    Args:
        C: weight of the losses, positive.
        tol: class k has converged when the norm of its gradient is at most ``tol min(n_k, n - n_k) / n`` of what it is
            at w = 0. At ``LinearSVC``'s 1e-4 weights may be 0.1 off; a hundredth of it takes one or two steps more.
        max_iter: most Newton steps.
    Attributes:
        classes_: (K,) labels, ascending.
        coef_, intercept_: (K, d) and (K,) float64; (1, d) and (1,) of the second class where there are two.
        n_iter_: number of Newton steps.

    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> x, y = load_digits(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), LinearSVM(C=0.01)).fit(x[:1000], y[:1000])
    >>> model.decision_function(x[1000:]).shape, bool(model.score(x[1000:], y[1000:]) > 0.9)
    ((797, 10), True)
    """

    def __init__(self, C: float = 1.0, tol: float = 1e-6, max_iter: int = 1000):
        self.C = C
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: np.ndarray, y: np.ndarray) -> "LinearSVM":
        """Fits (n, d) features with (n,) labels of at least two classes.

        Raises:
            ValueError: features that are not finite, one class only, a setting out of its range.
        """
        self._check_settings()
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"a classifier needs two classes, the data has one class only ({self.classes_[0]})")
        ((w, converged, steps),) = newton(X, labels, [self.C], self.tol, self.max_iter)
        if not converged:
            warnings.warn(
                f"LinearSVM has not converged after {steps} Newton steps; standardise the features, or raise max_iter "
                "or tol",
                ConvergenceWarning,
                stacklevel=2,
            )
        w = w if len(self.classes_) > 2 else w[:, 1:]
        self.coef_, self.intercept_, self.n_iter_ = np.ascontiguousarray(w[:-1].T), w[-1].copy(), max(1, steps)
        return self

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """(m, d) features -> (m, K) scores of the classes; (m,) of the second class where there are two."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        scores = X @ self.coef_.T + self.intercept_
        return scores if len(self.classes_) > 2 else scores.ravel()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(m, d) features -> (m,) labels."""
        scores = self.decision_function(X)
        return self.classes_[scores.argmax(axis=1) if scores.ndim > 1 else (scores > 0).astype(int)]

    def _check_settings(self) -> None:
        if not 0 < self.C < math.inf:
            raise UserError(f"LinearSVM: C is {self.C}; it is a positive number")
        if not 0 <= self.tol < math.inf:
            raise UserError(f"LinearSVM: tol is {self.tol}; it is a number that is not negative")
        if self.max_iter < 1:
            raise UserError(f"LinearSVM: max_iter is {self.max_iter}; it is at least 1")
