"""Theorem 3 on the runs themselves: mu and the s and c that it suggests, the regret of q, curves of h(s) (Fig. 2)."""

from stages.common import run
from stages.paths import CONCEPTS, DATA, model_folder
from stages.variants import variant_spec

import numpy as np
import pandas as pd

from hrrl.common.files import replacing
from hrrl.methods import theory
from hrrl.methods.concept.hrrl import ConceptDistribution
from hrrl.methods.regret import gradient_norms, mean_regret, replay


def main(params):
    runs = list(recorded(params))
    suggested = suggestions(params, runs)
    frames = {
        "curves": curves(params, suggested),
        "maxima": maxima(params),
        "suggestions": suggested,
        "regret": pd.DataFrame(regret(runs), columns=["variant", "seed", "c", "s", "steps", "regret", "bound"]),
    }
    with replacing(DATA / "theory") as folder:
        folder.mkdir()
        for name, frame in frames.items():
            frame.to_csv(folder / f"{name}.csv", index=False)


def recorded(params):
    """(variant, seed, q's distribution before its first step as a function of c, terms, q) of the runs with Eq. 6."""
    counts = pd.read_csv(CONCEPTS / "concepts.csv").images.tolist()
    for variant in params.runs.pretrain:
        point = (variant_spec(variant)["concept"] or {}).get("hrrl")
        for seed in params.seeds if point else []:
            with np.load(model_folder(variant, seed) / "trace.npz") as trace:
                yield variant, seed, ConceptDistribution(counts, **point), trace["terms"], trace["q"]


def suggestions(params, runs) -> pd.DataFrame:
    """One row per variant: mu over its seeds, what Theorem 3 suggests for it, and the mu that c and s in use imply."""
    rows = {}
    for variant, _, q, terms, played in runs:
        norms = gradient_norms(terms, played, q.q0.numpy(), q.lam)
        row = rows.setdefault(variant, {"variant": variant, "lam": q.lam, "mu": 0.0, "mu_run": 0.0})
        row["batches"] = min(params.theory.batches, len(norms))
        row["mu"] = max(row["mu"], norms[: row["batches"]].max())
        row["mu_run"] = max(row["mu_run"], norms.max())
        s, c = theory.slow_start(row["mu"], q.lam)
        implied = theory.implied_mu(q.s, q.c, q.lam) if q.s > 1 else np.nan
        row |= {"suggested_s": s, "suggested_c": c, "s": q.s, "c": q.c, "implied_mu": implied}
    columns = ["variant", "lam", "mu", "mu_run", "batches", "suggested_s", "suggested_c", "s", "c", "implied_mu"]
    return pd.DataFrame(rows.values(), columns=columns)


def regret(runs):
    """Mean regret and its bound along each run: of the q that it had, and of c = 1 on the same losses."""
    for variant, seed, q, terms, played in runs:
        steps = np.unique(np.geomspace(1, len(terms), 60).astype(int))
        courses = {(q.c, q.s): played}
        if q.c != 1 and q.s > 0:
            courses[1.0, 0] = replay(ConceptDistribution(q.share, q.lam, 1.0, 0, q.q0), terms)
        for (c, s), course in courses.items():
            mu = gradient_norms(terms, course, q.q0.numpy(), q.lam).max()
            values = mean_regret(terms, course, q.q0.numpy(), q.lam, steps)
            bounds = theory.regret_bound_in_use(steps, mu, q.lam, c, s)
            for row in zip(steps, values, bounds, strict=True):
                yield variant, seed, c, s, *row


def curves(params, suggested) -> pd.DataFrame:
    """h(s) for the paper's mu, without a variant, and for the one of each variant."""
    s = np.unique(np.geomspace(2, params.theory.s_max, 300).astype(int))
    points = [(mu, 1.0, None) for mu in params.theory.mu]
    points += [(row.mu, row.lam, row.variant) for row in suggested.itertuples()]
    frames = [{"mu": mu, "lam": lam, "s": s, "h": theory.h(s, mu, lam), "variant": name} for mu, lam, name in points]
    return pd.concat(map(pd.DataFrame, frames))


def maxima(params) -> pd.DataFrame:
    best = [(mu, theory.best_s(mu)) for mu in params.theory.mu]
    return pd.DataFrame([{"mu": mu, "s": s, "h": theory.h(s, mu), "c": theory.c(s, mu)} for mu, s in best])


if __name__ == "__main__":
    run(main)
