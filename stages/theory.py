"""Theorem 3: curves of h(s) (Fig. 2), mu from mini-batches of the baseline model, and the s and c that it suggests."""

from pathlib import Path

from stages.common import run
from stages.inputs import benchmark_task
from stages.paths import model_folder, read_json, selected

import numpy as np
import pandas as pd

from hrrl import theory
from hrrl.files import replacing


def main(params):
    estimated = estimate(params)
    with replacing(Path("data", params.name, "theory")) as folder:
        folder.mkdir()
        for name, frame in {
            "curves": curves(params),
            "maxima": maxima(params),
            "suggestions": estimated,
        }.items():
            frame.to_csv(folder / f"{name}.csv", index=False)


def curves(params) -> pd.DataFrame:
    s = np.unique(np.geomspace(2, params.theory.s_max, 300).astype(int))
    return pd.concat(pd.DataFrame({"mu": mu, "s": s, "h": theory.h(s, mu)}) for mu in params.theory.mu)


def maxima(params) -> pd.DataFrame:
    best = [(mu, theory.best_s(mu)) for mu in params.theory.mu]
    return pd.DataFrame([{"mu": mu, "s": s, "h": theory.h(s, mu), "c": theory.c(s, mu)} for mu, s in best])


def estimate(params) -> pd.DataFrame:
    """One row per variant with the paper's concept axis: what Theorem 3 suggests beside what is in use."""
    from hrrl import models, runtime
    from hrrl.gradient_norms import gradient_norms

    seed = params.seeds[0]
    model, description = models.load(model_folder(params, params.runs.pretrain[0], seed))
    with runtime.start(params.compute) as here:
        task = benchmark_task(params, description["image_size"])
        norms = gradient_norms(model, task, here, params.pretrain, params.theory.batches, seed)
    mu, rows = float(norms.max()), []
    for name in params.runs.pretrain:
        point = (read_json(selected(params, name))["concept"] or {}).get("hrrl")
        if point:
            lam, s = point["lam"], theory.best_s(mu, point["lam"])
            suggested = {"suggested_s": s, "suggested_c": float(theory.c(s, mu, lam))}
            known = {
                "variant": name,
                "lam": lam,
                "mu": mu,
                "mu_mean": float(norms.mean()),
                "batches": len(norms),
            }
            rows.append(known | suggested | {"s": point["s"], "c": point["c"]})
    columns = ["variant", "lam", "mu", "mu_mean", "batches", "suggested_s", "suggested_c", "s", "c"]
    return pd.DataFrame(rows, columns=columns)


if __name__ == "__main__":
    run(main)
