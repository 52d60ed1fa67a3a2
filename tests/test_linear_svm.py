"""The SVM as an estimator: scikit-learn's own checks, and LinearSVC's weights."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from hrrl import LinearSVM


@parametrize_with_checks([LinearSVM()])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer, load_iris])
@pytest.mark.parametrize("C", [0.01, 1.0])
def test_its_weights_are_those_of_linear_svc(load, C):
    x, y = load(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    found, reference = LinearSVM(C).fit(x, y), LinearSVC(C=C, dual=False, tol=1e-9, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(found.coef_, reference.coef_, atol=1e-3)
    np.testing.assert_allclose(found.intercept_, reference.intercept_, atol=1e-3)


def test_what_cannot_be_fitted_is_said():
    x, y = load_iris(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="1 Newton steps"):
        LinearSVM(max_iter=1).fit(x, y)
    for settings in ({"C": 0.0}, {"tol": -1.0}, {"max_iter": 0}):
        with pytest.raises(ValueError, match=f"LinearSVM: {next(iter(settings))} is"):
            LinearSVM(**settings).fit(x, y)
