"""The figures: what the paper's Figs. 2 to 5 show, the course of q, and an overview of the SVM's accuracy.

Each is drawn from the frames of :func:`hrrl.report.plots.plots`; their captions are in page.html.j2.
The same results give the same bytes.
"""

import contextlib
import os
import sys
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

from hrrl.report.claims import ENDPOINTS
from hrrl.report.results import Results

# A notebook's kernel exports a backend, which this environment may lack; figures here need none.
BACKEND = "" if "matplotlib" in sys.modules else os.environ.pop("MPLBACKEND", "")
try:
    import matplotlib.style
    from matplotlib.axes import Axes
    from matplotlib.colors import to_hex, to_rgb
    from matplotlib.figure import Figure
finally:
    if BACKEND:
        os.environ["MPLBACKEND"] = BACKEND
if BACKEND:  # for the notebook's own plots
    with contextlib.suppress(ValueError):
        matplotlib.rcParams["backend"] = BACKEND

Frames = dict[str, Any]  # what is plotted, by name: frames, and the rows of the claims
Look = dict[str, dict[str, str]]  # colour and marker of each variant

STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures are the same everywhere
    "font.size": 9,
    **{"axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.edgecolor": "#8a8a8a"},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True},
    **{"grid.color": "#e6e6e6", "grid.linewidth": 0.8, "lines.linewidth": 1.8, "lines.markersize": 5},
    **{"xtick.color": "#444444", "ytick.color": "#444444", "legend.frameon": False, "figure.dpi": 160},
    **{"xtick.major.size": 0, "ytick.major.size": 0, "xtick.minor.size": 0},
    "svg.hashsalt": "hrrl",  # else the ids in an SVG differ from run to run
}
WIDTH = 9.0  # inches
READABLE = 40  # concepts; the names of more are left out

# Okabe and Ito's and Tol's colour-blind-safe sets: a hue for each pair of methods, a shade for each setting.
PAPER_HUES = {(): "#333333", ("gradient",): "#0072B2", ("hrrl",): "#009E73", ("gradient", "hrrl"): "#D55E00"}
OTHER_HUES = ["#CC79A7", "#56B4E9", "#E69F00", "#882255", "#999933", "#332288", "#8C6D5A", "#44AA99", "#7F7F7F"]
CONCEPT_HUES = [*PAPER_HUES.values()][1:] + OTHER_HUES[:-2] + OTHER_HUES[-1:]
MARKERS = "osD^vPX<>*ph"
VERDICT_COLORS = {"holds": "#009E73", "fails": "#D55E00", "undecided": "#7F7F7F"}


def figures(results: Results, decided: list[dict], data: Frames, folder: str | Path) -> list[str]:
    """Writes <folder>/<name>.svg of every figure that has data, and returns the names.

    Args:
        decided: what :func:`hrrl.report.claims.claims` gives.
        data: what :func:`hrrl.report.plots.plots` gives.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    variants_shown = {
        "training": results.compared,
        "q": results.adaptive(),
        "augmented": [*results.without("concept"), results.headline],
        "concepts": [*results.without("example"), results.headline],
    }
    data = data | {name: data[name][data[name].variant.isin(variants)] for name, variants in variants_shown.items()}
    data["claims"] = [row for row in decided if row["primary"] and row["relation"] != "trend"]
    look, drawn = looks(results.variants), []
    with matplotlib.style.context(STYLE, after_reset=True):  # whatever a matplotlibrc or the caller has set
        for name, (draw, source) in CHARTS.items():
            figure = draw(results, data, look) if len(data[source]) else None
            if figure is not None:
                drawn.append(name)
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    return drawn


def looks(variants: dict[str, dict]) -> Look:
    """variant -> {"color", "marker"}, the same in every figure, and in the figures' order.

    Variants with the same methods stand together, share a hue and get darker in the order of their numeric settings.
    """
    families: dict[tuple[str, ...], list[str]] = {}
    numbers = {}
    for name, spec in variants.items():
        points = [point for axis in ("example", "concept") for point in (spec.get(axis) or {}).items()]
        families.setdefault(tuple(method for method, _ in points), []).append(name)
        values = (value for _, settings in points for value in (settings or {}).values())
        numbers[name] = [value for value in values if isinstance(value, int | float)]
    other_hues = iter(OTHER_HUES * len(families))
    hues = {family: PAPER_HUES.get(family) or next(other_hues) for family in families}
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(variants)}
    return {
        name: {"color": shade, "marker": markers[name]}
        for family, names in families.items()
        for name, shade in zip(sorted(names, key=numbers.__getitem__), _shades(hues[family], len(names)), strict=True)
    }


def _shades(hue: str, n: int) -> list[str]:
    """n shades from light to dark with the hue itself in the middle."""
    rgb = np.array(to_rgb(hue))
    steps = np.linspace(-1, 1, n) * min(1, (n - 1) / 2)
    return [to_hex(rgb + 0.45 * abs(step) * ((1 - rgb) if step < 0 else -rgb)) for step in steps]


# --------------------------------------------------------------------------------------------------- helpers


def _panels(n: int, height: float, width: float = WIDTH, narrow: bool = True, **shared: Any) -> tuple[Figure, Any]:
    """A figure with n panels, three side by side, or four narrow ones; ``height`` is that of one row in inches."""
    columns = min(n, 4 if narrow and n in (4, 7, 8, 11, 12) else 3)
    rows = -(-n // columns)
    figure = Figure(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for unused in axes[n:]:
        unused.remove()
    return figure, axes[:n]


def _variants(look: Look, frame: pd.DataFrame) -> list[str]:
    """The variants of a frame, in the figures' order."""
    present = set(frame.variant)
    return [variant for variant in look if variant in present]


def _set_title(axis: Axes, results: Results, look: Look, variant: str, end: str = "") -> str:
    """Gives a panel the label of a variant, in its colour, which is returned."""
    color = look[variant]["color"]
    axis.set_title(fill(results.labels[variant], 24) + end, color=color)
    return color


def _curves(
    axis: Axes, frame: pd.DataFrame, x: str, y: str, results: Results, look: Look, markers: bool = False
) -> None:
    """One line per variant, with its band."""
    for variant in _variants(look, frame):
        rows, style = frame[frame.variant == variant].sort_values(x), look[variant]
        marker = style["marker"] if markers or len(rows) == 1 else None
        axis.plot(rows[x], rows[y], color=style["color"], marker=marker, label=results.labels[variant])
        _band(axis, rows, x, y, style["color"])


def _band(axis: Axes, rows: pd.DataFrame, x: str, y: str, color: str) -> None:
    """One standard deviation over seeds on either side of a line."""
    std = rows["std"].fillna(0)
    if std.any():
        axis.fill_between(rows[x], rows[y] - std, rows[y] + std, color=color, alpha=0.15, linewidth=0)


def _sweep(axis: Axes, frame: pd.DataFrame, x: str, y: str, title: str) -> None:
    """One line for each value that the search tried on one axis, darker the larger it is; ERM in black."""
    names = list(frame.series.unique())
    ramp = matplotlib.colormaps["viridis"](np.linspace(0.9, 0.1, len(names) - 1))
    for name, color in zip(names, ["#333333", *ramp], strict=True):
        rows = frame[frame.series == name].sort_values(x)
        axis.plot(rows[x], rows[y], color=color, marker="o", markersize=4, label=name)
    axis.set_title(title)
    axis.legend(fontsize=7)


def _legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    """One legend for the whole figure, below it."""
    handles, names = axis.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(columns, len(names)))


# --------------------------------------------------------------------------------------------------- figures


def _claims(results: Results, data: Frames, look: Look) -> Figure:
    """A row per claim: the difference with its interval, on the claimed side to the right."""
    rows, names = data["claims"], []
    figure, (axis,) = _panels(1, 0.9 + 0.34 * len(rows))
    for y, row in enumerate(rows):
        sign, color = ENDPOINTS[row["endpoint"]].sign, VERDICT_COLORS[row["verdict"]]
        if row["ci95"]:
            axis.plot([sign * bound for bound in row["ci95"]], [y] * 2, color=color, linewidth=3, alpha=0.55)
        if row["difference"] is not None:
            axis.plot([sign * row["difference"]], [y], "o", color=color)
        for tick in {"better": (0,), "no_worse": (-1,), "similar": (-1, 1)}[row["relation"]]:
            axis.plot([tick * (row["margin"] or 0)] * 2, [y - 0.35, y + 0.35], color="#333333", linewidth=1.4)
        endpoint = " ".join(filter(None, [row["endpoint"].replace("_", " "), row["target"]]))
        names.append(f"{results.labels[row['better']]} against {results.labels[row['compared']]}\n{endpoint}")
    axis.set_yticks(range(len(rows)), names, fontsize=7.5)
    axis.set(ylim=(len(rows) - 0.5, -0.5), xlabel="difference in points; the claimed side is on the right")
    axis.grid(axis="y", visible=False)
    return figure


def _svm(results: Results, data: Frames, look: Look) -> Figure:
    """Per target, one row per variant: seeds as dots, their mean as a bar, the paper's mean as a diamond."""
    means = data["svm"].set_index(["target", "variant"]).accuracy
    targets, variants = [t for t in results.targets if t in means], _variants(look, data["svm"])
    figure, axes = _panels(len(targets), 0.9 + 0.3 * len(variants), sharey=True)
    for axis, target in zip(axes, targets, strict=True):
        for row, variant in enumerate(variants):
            runs, color = results.runs("svm", target).get(variant, []), look[variant]["color"]
            if len(runs):
                axis.plot([runs.mean()] * 2, [row - 0.3, row + 0.3], color=color, linewidth=3)
                axis.scatter(runs, [row] * len(runs), color=color, s=26, alpha=0.55, linewidths=0)
            if paper := results.paper(target, variant):
                axis.scatter([paper[0]], [row], marker="D", s=30, facecolors="none", edgecolors="#333333", linewidths=1)
        if (target, results.baseline) in means:
            line = {"color": "#999999", "linewidth": 1, "linestyle": (0, (4, 3))}
            axis.axvline(means[target, results.baseline], zorder=0, **line)
        axis.set(title=target, xlabel="accuracy (%)", ylim=(len(variants) - 0.5, -0.5))
        axis.margins(x=0.12)
        axis.locator_params(axis="x", nbins=4)
        axis.set_yticks(range(len(variants)), [results.labels[v] for v in variants])
        axis.grid(axis="y", visible=False)
    return figure


def _search(results: Results, data: Frames, look: Look) -> Figure | None:
    """A panel for each axis alone, and a map of the points with both; differences to ERM at the same tuning seeds."""
    table = data["search"].copy()
    values = ["mean", "benchmark", *(f"accuracy_{target}" for target in results.targets)]
    erm = table[table.family == "erm"]
    table[values] -= erm[values].iloc[0] if len(erm) else 0.0
    titles = {"el": "EL", "cl": "CL", "hrrl": "HRRL, mean over targets"}
    families = [family for family in titles if (table.family == family).any()]
    if not families:
        return None
    figure, axes = _panels(len(families), 3.3)
    for axis, family in zip(axes, families, strict=True):
        (_search_map if family == "hrrl" else _search_line)(axis, table[table.family == family], results)
        axis.set_title(titles[family])
    axes[0].set_ylabel("accuracy − that of ERM (points)" if len(erm) else "accuracy (%)")
    if families[0] != "hrrl":
        _legend(figure, axes[0], columns=6)
    return figure


def _search_line(axis: Axes, rows: pd.DataFrame, results: Results) -> None:
    column, symbol = ("tau", "τ") if rows.lam.isna().all() else ("lam", "λ")
    ticks = range(len(rows))
    for target, color in zip(results.targets, CONCEPT_HUES * len(results.targets), strict=False):
        axis.plot(ticks, rows[f"accuracy_{target}"], color=color, linewidth=1.2, marker="o", markersize=3, label=target)
    axis.plot(ticks, rows["mean"], color="#333333", linewidth=2.6, marker="o", label="mean over targets")
    axis.plot(ticks, rows.benchmark, color="#8a8a8a", linestyle=(0, (4, 3)), linewidth=1.2, label="benchmark")
    chosen = int(np.flatnonzero(rows.chosen)[0])
    axis.plot([chosen], [rows["mean"].iloc[chosen]], "o", markersize=13, markerfacecolor="none", color="#333333")
    axis.axhline(0, color="#999999", linewidth=0.8)
    axis.set_xticks(ticks, [f"{value:g}" for value in rows[column]])
    axis.set_xlabel(symbol)


def _search_map(axis: Axes, rows: pd.DataFrame, results: Results) -> None:
    grid = rows.pivot(index="tau", columns="lam", values="mean")
    axis.imshow(grid, cmap="viridis", aspect="auto", origin="lower")
    middle = (grid.max(axis=None) + grid.min(axis=None)) / 2
    box = {"boxstyle": "round", "fill": False, "edgecolor": "#D55E00", "lw": 2}
    for row in rows.itertuples():
        x, y = grid.columns.get_loc(row.lam), grid.index.get_loc(row.tau)
        color = "#1c1c1e" if row.mean > middle else "#ffffff"
        emphasis: dict[str, Any] = {"weight": "bold", "bbox": box} if row.chosen else {}
        axis.text(x, y, f"{row.mean:+.1f}", ha="center", va="center", color=color, **emphasis)
    axis.set_yticks(range(len(grid.index)), [f"{value:g}" for value in grid.index])
    axis.set_xticks(range(len(grid.columns)), [f"{value:g}" for value in grid.columns])
    axis.set(xlabel="λ", ylabel="τ")
    axis.grid(visible=False)


def _h(results: Results, data: Frames, look: Look) -> Figure:
    """Fig. 2: the curves of the given mu, and dashed those of the mu that the runs had; where h(s) is positive."""
    figure, (axis,) = _panels(1, 4.2, width=7)
    curves, shades = data["h"][data["h"].variant.isna()], matplotlib.colormaps["viridis"]
    mus = sorted(set(curves.mu))
    for mu, color in zip(mus, shades(np.linspace(0.75, 0.1, len(mus))), strict=True):
        rows = curves[curves.mu == mu].sort_values("s")
        maximum = results.maxima[results.maxima.mu == mu].iloc[0]
        axis.plot(rows.s, rows.h.where(rows.h > 0), color=color, label=f"μ = {mu:g}: s = {maximum.s:,.0f}")
        axis.plot(maximum.s, maximum.h, "o", color=color)
    for variant in _variants(look, data["h"]):
        rows = data["h"][data["h"].variant == variant].sort_values("s")
        suggested_s = results.suggestions.set_index("variant").suggested_s[variant]
        label = f"{rows.series.iloc[0]}: " + (f"s = {suggested_s:,.0f}" if suggested_s > 0 else "h < 0")
        axis.plot(rows.s, rows.h.where(rows.h > 0), color=look[variant]["color"], linestyle="--", label=label)
    style: dict[str, Any] = {"color": "#D55E00", "linewidth": 1.2, "linestyle": (0, (4, 3)), "zorder": 1.5}
    for s in sorted({s for s in results.suggestions.s if s >= 1}):
        axis.axvline(s, label=f"in use: s = {s:g}", **style)
    axis.set(xscale="log", yscale="log", xlabel="s (steps of q with the small learning rate)", ylabel="h(s)")
    axis.set_ylim(0.1, 2 * max(data["h"].h.max(), 1))
    _legend(figure, axis, columns=3)
    return figure


def _regret(results: Results, data: Frames, look: Look) -> Figure:
    """q's mean regret with its bound, in use and with c = 1: a panel per variant."""
    variants = _variants(look, data["regret"])
    figure, axes = _panels(len(variants), 2.8, sharey=True)
    for axis, variant in zip(axes, variants, strict=True):
        color = _set_title(axis, results, look, variant)
        rows = data["regret"][data["regret"].variant == variant]
        for (c, s), course in rows.groupby(["c", "s"], sort=False):
            label = f"c = {c:g}" + (f", s = {s:g}" if s else "")
            axis.plot(course.steps, course.regret.where(course.regret > 0), color=color, label=label)
            axis.plot(course.steps, course.bound, color=color, linestyle=":", linewidth=1.4, label="its bound")
            color = "#999999"  # of all but the first, which is in use
        axis.set(xscale="log", yscale="log", xlabel="steps T")
        axis.legend(fontsize=7, loc="lower left")
        axis.tick_params(labelleft=True)
    axes[0].set_ylabel("mean regret of q")
    return figure


def _training(results: Results, data: Frames, look: Look) -> Figure:
    """Loss and validation accuracy of the compared variants by epoch."""
    figure, axes = _panels(2, 3.2)
    titles = {"train_loss": "training loss, of the images trained on", "val_accuracy": "validation accuracy (%)"}
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        _curves(axis, data["training"].assign(std=0.0), "epoch", column, results, look)
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure, axes[0])
    return figure


def _finetune(results: Results, data: Frames, look: Look) -> Figure:
    """Fig. 3."""
    frame = data["fine_tuning"]
    targets = [target for target in results.targets if (frame.target == target).any()]
    figure, axes = _panels(len(targets), 3.0)
    for axis, target in zip(axes, targets, strict=True):
        _curves(axis, frame[frame.target == target], "step", "test_error", results, look)
        low, high = axis.get_ylim()
        axis.set(title=target, xlabel="step", ylabel="test error (%)", ylim=(max(low, 0), min(high, 100)))
        axis.xaxis.get_major_locator().set_params(integer=True)
    _legend(figure, axes[0])
    return figure


def _augmented(results: Results, data: Frames, look: Look) -> Figure:
    """Fig. 4."""
    search = data["augmented_search"]
    figure, axes = _panels(2, 4.0, sharey=True) if len(search) else _panels(1, 4.0, width=7)
    _curves(axes[0], data["augmented"], "step_size", "accuracy", results, look, markers=True)
    for axis in axes:
        axis.set(xlabel="step size (L2, pixel units)", ylabel="accuracy (%)")
    _legend(figure, axes[0])
    if len(search):
        axes[0].set_title("Results")
        _sweep(axes[1], search, "step_size", "accuracy", "Search over τ, on tuning seeds")
    return figure


def _concepts(results: Results, data: Frames, look: Look) -> Figure:
    """Fig. 5: a panel per variant, its concepts in ascending order; the baseline's in grey behind."""
    frame, search = data["concepts"], data["concepts_search"]
    variants, baseline = _variants(look, frame), frame[frame.variant == results.baseline]
    concepts, narrow = frame.concept.nunique(), frame.concept.str.len().max() <= 10
    panels, height = len(variants) + bool(len(search)), 1.1 + 0.22 * min(concepts, READABLE)
    figure, axes = _panels(panels, height, narrow=narrow, sharex=True)
    if len(search):
        _sweep(axes[-1], search, "accuracy", "rank", "Search over λ\n")
        axes[-1].set(ylim=(concepts + 0.5, 0.5), ylabel="rank of the concept")
    for axis, variant in zip(axes, variants, strict=False):
        rows, color = frame[frame.variant == variant], _set_title(axis, results, look, variant, "\n")
        if variant != results.baseline:
            axis.plot(baseline.accuracy, baseline["rank"], "o-", color="#bbbbbb", linewidth=1.2, markersize=4)
        axis.errorbar(rows.accuracy, rows["rank"], xerr=rows["std"].fillna(0), fmt="o-", color=color, elinewidth=1)
        if concepts <= READABLE:
            axis.set_yticks(rows["rank"], rows.concept)
        note = f"worst {rows.accuracy.min():.1f} %, gap {rows.accuracy.max() - rows.accuracy.min():.1f}"
        axis.annotate(note, (0, 1), (0, 4), "axes fraction", "offset points", color="#555555")
        axis.set_ylim(concepts + 0.5, 0.5)
        axis.tick_params(labelbottom=True)
    figure.supxlabel("accuracy (%)", fontsize=9)
    return figure


def _q(results: Results, data: Frames, look: Look) -> Figure:
    """The course of q: a panel per variant that weights concepts."""
    variants, q0 = _variants(look, data["q"]), results.concepts.set_index("concept").q0
    figure, axes = _panels(len(variants), 2.8, sharey=True)
    for axis, variant in zip(axes, variants, strict=True):
        q = data["q"][data["q"].variant == variant].sort_values("epoch")
        for k, concept in enumerate(q0.index):
            rows = q[q.concept == concept]
            color, dash = CONCEPT_HUES[k % len(CONCEPT_HUES)], ["-", "--", "-."][k // len(CONCEPT_HUES) % 3]
            marker = "o" if len(rows) == 1 else None
            axis.plot(rows.epoch, rows.q, color=color, linestyle=dash, marker=marker, label=concept)
            axis.axhline(q0[concept], color=color, linewidth=0.9, linestyle=":")
            _band(axis, rows, "epoch", "q", color)
        axis.set(xlabel="epoch", ylabel="q", ylim=(0, None))
        _set_title(axis, results, look, variant)
        axis.xaxis.get_major_locator().set_params(integer=True)
    if len(q0) <= READABLE:
        _legend(figure, axes[0], columns=6)
    return figure


CHARTS = {  # name -> the function that draws it, and the data that it needs
    "claims": (_claims, "claims"),
    "svm_accuracy": (_svm, "svm"),
    "training": (_training, "training"),
    "search": (_search, "search"),
    "fig2_h": (_h, "h"),
    "regret": (_regret, "regret"),
    "fig3_finetuning": (_finetune, "fine_tuning"),
    "fig4_augmented_accuracy": (_augmented, "augmented"),
    "fig5_concept_accuracy": (_concepts, "concepts"),
    "q": (_q, "q"),
}
