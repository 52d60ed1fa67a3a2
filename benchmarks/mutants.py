"""How many small mistakes the tests would find: each is put into a module alone, and the module's tests must fail.

    python -m benchmarks.mutants                       what differs from origin/main
    python -m benchmarks.mutants --all --sample 60     every module, of each at most 60 mutants
    python -m benchmarks.mutants hrrl/transfer/svm.py --show    one, with what survives as it is found

mutmut and cosmic-ray were tried first. mutmut 3 leaves out every function with a decorator (here the evaluation and the
extraction of features) and what stands outside of functions. cosmic-ray starts Python anew for each mutant, which to
import torch takes longer than most tests here. Neither makes the mistakes that tests have missed: an argument left out,
the other split, a call taken away. So the mutants are made here, in the syntax tree, and each runs in a fork of one
process that has collected the tests: a function there is given the code with the mistake. What only the import of a
module runs (defaults, constants, classes) takes a fork of a process that has imported the libraries alone.
"""

import argparse
import ast
import contextlib
import copy
import gc
import importlib.machinery
import importlib.util
import itertools
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import ROOT

REPORT = ROOT / "benchmarks/mutants.json"
EQUIVALENT = ROOT / "benchmarks/equivalent.toml"
SECONDS = 20  # of CPU beyond what the tests need, until a mutant hangs
PASSED, FAILED, IMPORT = 0, 1, 9  # how a fork ends: IMPORT, where the module has to be imported with the mistake

METHOD, OTHERS = 95, 90  # percent that are to be found
TESTS = {  # what finds the mistakes of a module, the quickest and nearest first
    "hrrl/methods/simplex.py": "test_objective",
    "hrrl/methods/interfaces.py": "test_objective test_reference test_waits",
    "hrrl/methods/input_gradient.py": "test_inputgrad::test_the_model_inside_is_asked_in_inference_mode_too "
    "test_inputgrad::test_a_sure_predictions_gradient_survives_float16 "
    "test_objective::test_a_gradient_of_any_size_is_normalised "
    "test_inputgrad::test_labels_are_integers_of_any_width_and_images_floats "
    "test_inputgrad::test_unusual_structures_are_computed_as_they_stand",
    "hrrl/methods/concept/hrrl.py": "test_objective test_theory test_reference",
    "hrrl/methods/concept/group_dro.py": "test_methods",
    "hrrl/methods/concept/cvar.py": "test_methods",
    "hrrl/methods/concept/balanced.py": "test_methods",
    "hrrl/methods/example/gradient.py": "test_objective test_methods test_reference",
    "hrrl/methods/example/noise.py": "test_methods",
    "hrrl/methods/example/pgd.py": "test_methods",
    "hrrl/methods/example/wrm.py": "test_methods",
    "hrrl/report/claims.py": "test_claims",
    "hrrl/report/statistics.py": "test_statistics",
    "hrrl/report/concept_difficulty.py": "test_claims::test_premise_is_the_baselines_loss_on_a_targets_concepts "
    "test_claims::test_the_premise_says_how_much_weight_a_targets_concepts_got_and_what_it_did",
    "hrrl/report/summary.py": "test_reporting::test_metrics_are_means_over_seeds_with_stable_keys "
    "test_reporting::test_a_variant_without_some_seeds_is_scored_by_those_that_it_has "
    "test_reporting::test_headline_is_one_variant_without_its_name "
    "test_reporting::test_another_q0_is_compared_with_the_same_method_without_it "
    "test_reporting::test_tables_have_the_papers_numbers_for_its_targets_alone "
    "test_claims::test_all_rows_are_those_of_loops_over_runs_and_images",
    "hrrl/report/tables.py": "test_reporting::test_metrics_are_means_over_seeds_with_stable_keys "
    "test_reporting::test_theory_says_where_no_slow_start_pays "
    "test_reporting::test_theorem_2_asks_for_a_step_for_each_image "
    "test_reporting::test_fine_tuning_shows_its_plateau test_reporting::test_headline_is_one_variant_without_its_name "
    "test_reporting::test_tables_have_the_papers_numbers_for_its_targets_alone "
    "test_reporting::test_another_q0_is_compared_with_the_same_method_without_it "
    "test_reporting::test_the_search_is_ranked_by_its_mean_over_targets_and_tuning_seeds "
    "test_claims::test_premise_is_the_baselines_loss_on_a_targets_concepts "
    "test_claims::test_the_premise_says_how_much_weight_a_targets_concepts_got_and_what_it_did "
    "test_claims::test_all_rows_are_those_of_loops_over_runs_and_images",
    "hrrl/train/training.py": "test_reference "
    "test_training::test_resumed_run_has_the_same_bytes "
    "test_training::test_the_course_of_a_run_can_be_read_while_it_goes test_recipes "
    "test_training::test_live_curves_are_the_runs_and_change_nothing",
    "hrrl/train/evaluation.py": "test_reference",
    "hrrl/transfer/robustness.py": "test_reference",
    "hrrl/transfer/smoothness.py": "test_reference::test_smoothness_is_the_largest_eigenvalue_of_a_known_hessian "
    "test_reference::test_variance_factor_is_that_of_drawn_batches",
    "hrrl/train/fixed_step_batches.py": "test_recipes::test_rounds_are_the_epochs_cut_anew "
    "test_recipes::test_training_in_rounds_is_training_in_epochs test_recipes::test_several_epochs_are_one_round "
    "test_recipes::test_rounds_keep_the_recipe",
    "hrrl/methods/q_history.py": "test_reference",
    "hrrl/transfer/svm.py": "test_svm",
    "hrrl/transfer/search.py": "test_svm::test_names_of_points "
    "test_svm::test_the_best_mean_over_targets_and_seeds_is_chosen test_svm::test_of_equals_the_nearest_to_erm "
    "test_svm::test_axes_that_were_searched_alone_are_put_together test_svm::test_one_axis_given_and_one_searched",
    "hrrl/methods/theory.py": "test_theory",
    "hrrl/methods/regret.py": "test_theory",
    "hrrl/concepts/__init__.py": "test_concepts test_concepts_by_image",
    "hrrl/concepts/hypernyms.py": "test_concepts",
    "hrrl/concepts/csv_file.py": "test_concepts_by_image test_concepts",
    "hrrl/data/augment.py": "test_batches",
    "hrrl/data/loading.py": "test_batches test_data",
    "stages/search.py": "test_measurements::test_a_point_of_the_search_is_scored_on_training_parts "
    "test_measurements::test_the_most_iterations_are_those_of_the_settings",
    "stages/robustness.py": "test_measurements::test_robustness_is_accuracy_on_moved_images_and_of_concepts "
    "test_measurements::test_a_concept_without_validation_images_has_no_accuracy",
    "stages/pretrain.py": "test_measurements::test_runs_that_are_finished_leave_no_checkpoint "
    "test_measurements::test_training_starts_from_given_weights "
    "test_measurements::test_the_average_of_the_weights_is_what_is_saved_and_measured "
    "test_measurements::test_pretraining_is_algorithm_1_from_the_seeds_weights",
    "stages/features.py": "test_measurements::test_features_are_what_the_last_layer_gets",
    "stages/finetune.py": "test_measurements::test_runs_that_are_finished_leave_no_checkpoint "
    "test_measurements::test_fine_tuning_goes_on_from_nothing_but_its_own_inputs "
    "test_measurements::test_the_average_of_the_weights_is_what_is_saved_and_measured "
    "test_measurements::test_fine_tuning_is_sgd_from_the_pretrained_weights",
    "stages/svm.py": "test_measurements::test_scores_are_of_each_draw_of_the_training_part "
    "test_measurements::test_the_most_iterations_are_those_of_the_settings",
    "stages/theory.py": "test_measurements::test_theorem_3s_suggestions_are_of_the_longest_gradients "
    "test_measurements::test_mu_is_of_the_first_batches_and_of_the_longest_of_several_seeds "
    "test_measurements::test_regret_along_the_run_is_that_of_its_records "
    "test_measurements::test_a_slow_start_alone_has_the_course_without_one_beside_it "
    "test_measurements::test_curves_are_h_of_the_papers_and_the_measured_mu",
}
PROJECT = {"hrrl", "stages", "scripts", "conftest", "reference", "pages", "benchmarks"}
STRICT = ("hrrl/methods/", "hrrl/objective.py", "hrrl/report/claims.py", "hrrl/train/training.py")

OPERATORS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
OTHER_NAMES = {"min": "max", "max": "min", "argmin": "argmax", "argmax": "argmin", "amax": "amin", "all": "any"}
OTHER_NAMES |= {"any": "all", "floor": "ceil", "ceil": "floor", "mean": "sum", "sum": "mean", "train": "test"}
OTHER_NAMES |= {"test": "train", "q0": "share", "cumsum": "sort"}
OTHER_WORDS = {"train": "test", "test": "train", "sum": "mean", "none": "mean", "p": "p_holm"}
NAMES_TO_TAKE_AWAY = ("torch", "np", "F", "math")  # and functions without a dot: f(x) -> x
# Calls that are not taken away: without them no test could pass, or nothing would change.
KEPT = {"float", "int", "list", "tuple", "str", "bool", "dict", "set", "len", "range", "enumerate"}
METHODS_KEPT = {"items", "values", "keys", "tolist", "numpy", "cpu", "item", "float", "long", "__init__"}
KEYWORDS_KEPT = {"strict", "device", "desc", "leave", "total", "mininterval", "stacklevel", "non_blocking", "title"}
WORDS = {"tqdm", "UserError", "ValueError", "TypeError", "FloatingPointError", "replacing", "print", "warn"}


@dataclass(frozen=True)
class Mutant:
    """A mistake: in which function of which module, and what it makes of what."""

    module: str
    function: str
    line: int
    before: str
    after: str
    outer: str  # the function or method that it is in the body of; none where it is run by the import
    place: tuple  # of the changed node, and which of its changes it is
    number: int
    which: int  # of those in the function that read alike, from 1

    def compiled(self) -> types.CodeType:
        """The module with the mistake."""
        tree = ast.parse((ROOT / self.module).read_text(encoding="utf-8"))
        put(tree, self.place, list(changes(at(tree, self.place)))[self.number])
        return compile(ast.fix_missing_locations(tree), str(ROOT / self.module), "exec")

    @property
    def name(self) -> tuple:
        return self.module, self.function, self.before, self.after, self.which

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.function}: {self.before}  ->  {self.after}"


def mutants(module: str) -> list[Mutant]:
    """All mistakes of our kinds that can be made in a module."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    found, alike = [], Counter[tuple[str, ...]]()
    for path, node, function in places(tree, (), ""):
        for i, changed in enumerate(changes(node)):
            before, after = (ast.unparse(part).partition("\n")[0] for part in (node, changed))
            alike[function, before, after] += 1
            which = alike[function, before, after]
            found.append(Mutant(module, function, node.lineno, before, after, outer(tree, path), path, i, which))
    return found


def outer(tree: ast.Module, path: tuple) -> str:
    """The qualified name of the outermost function whose body a path leads into."""
    names: list[str] = []
    for n, (field, _) in enumerate(path):
        node = at(tree, path[:n])
        if isinstance(node, ast.ClassDef):
            names.append(node.name)
        if isinstance(node, ast.FunctionDef):
            return ".".join([*names, node.name]) if field == "body" else ""
    return ""


def places(node: ast.AST, path: tuple, function: str) -> Iterator[tuple[tuple, ast.AST, str]]:
    """(path from the root, node, function) of all that may be changed: code that runs, and no words."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_comment", "format_spec"):
            continue
        for i, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or wordy(child):
                continue
            inside = f"{function}.{child.name}".strip(".") if hasattr(child, "body") and hasattr(child, "name") else ""
            here = (*path, (field, i))
            if hasattr(child, "lineno"):
                yield here, child, function
            yield from places(child, here, inside or function)


def wordy(node: ast.AST) -> bool:
    """Whether it only says something: docstrings, errors, progress bars, and how a script is called."""
    if isinstance(node, ast.keyword) and node.arg in KEYWORDS_KEPT:
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
        return True
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
        return ast.unparse(target).partition(",")[0].strip("(") in ("label", "off", "columns")
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).rpartition(".")[2] in WORDS and not node.args
    return isinstance(node, ast.Raise)


def at(tree: ast.AST, path: tuple):
    for field, i in path:
        tree = getattr(tree, field) if i is None else getattr(tree, field)[i]
    return tree


def put(tree: ast.AST, path: tuple, new: ast.AST) -> None:
    *way, (field, i) = path
    parent = at(tree, tuple(way))
    if i is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[i] = new


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What a slip of the pen may make of a node."""
    kind = f"change_{type(node).__name__.lower()}"
    if kind in globals():
        yield from globals()[kind](node)


def altered(node: ast.AST, **fields) -> ast.AST:
    """A copy with other fields."""
    new = copy.copy(node)
    for field, value in fields.items():
        setattr(new, field, value)
    return ast.copy_location(new, node)


def other(operator: ast.AST) -> ast.AST | None:
    kind = OPERATORS.get(type(operator))
    return kind() if kind else None


def change_compare(node):
    for i, operator in enumerate(node.ops):
        if new := other(operator):
            yield altered(node, ops=[*node.ops[:i], new, *node.ops[i + 1 :]])


def change_binop(node):
    if new := None if "None" in (ast.unparse(node.left), ast.unparse(node.right)) else other(node.op):
        yield altered(node, op=new)


def change_augassign(node):
    if new := other(node.op):
        yield altered(node, op=new)
    yield ast.copy_location(ast.Pass(), node)


def change_boolop(node):
    yield altered(node, op=other(node.op))


def change_unaryop(node):
    yield node.operand


def change_constant(node):
    value = node.value
    if isinstance(value, bool):
        yield altered(node, value=not value)
    elif isinstance(value, int):
        yield altered(node, value=value + 1)
    elif isinstance(value, float):
        yield altered(node, value=2 * value if value else 1.0)
    elif value in OTHER_WORDS:
        yield altered(node, value=OTHER_WORDS[value])


def change_name(node):
    if isinstance(node.ctx, ast.Load) and node.id in OTHER_NAMES:
        yield altered(node, id=OTHER_NAMES[node.id])


def change_attribute(node):
    if isinstance(node.ctx, ast.Load) and node.attr in OTHER_NAMES:
        yield altered(node, attr=OTHER_NAMES[node.attr])


def change_call(node):
    name = ast.unparse(node.func).rpartition(".")[2]
    if name in WORDS:
        return
    for i, keyword in enumerate(node.keywords):
        if keyword.arg and keyword.arg not in KEYWORDS_KEPT:
            yield altered(node, keywords=[*node.keywords[:i], *node.keywords[i + 1 :]])
    if len(node.args) > 1:
        yield altered(node, args=node.args[:-1])
    module = ast.unparse(node.func).rpartition(".")[0]
    single = len(node.args) == 1 and not isinstance(node.args[0], (ast.Starred, ast.GeneratorExp))
    if single and name not in KEPT and (not module or module in NAMES_TO_TAKE_AWAY):
        yield node.args[0]
    if not node.args and not node.keywords and isinstance(node.func, ast.Attribute) and name not in METHODS_KEPT:
        yield node.func.value  # x.detach() -> x


def change_ifexp(node):
    yield node.body
    yield node.orelse


def change_if(node):
    if not isinstance(node.test, (ast.Compare, ast.UnaryOp, ast.BoolOp)):
        yield altered(node, test=ast.UnaryOp(ast.Not(), node.test))


def change_while(node):
    yield altered(node, test=ast.Constant(False))


def change_expr(node):
    if isinstance(node.value, ast.Call):
        yield ast.copy_location(ast.Pass(), node)


def change_slice(node):
    for field in ("lower", "upper", "step"):
        if getattr(node, field) is not None:
            yield altered(node, **{field: None})


# ------------------------------------------------------------------------------------------------- running the tests


class Changed(importlib.machinery.SourceFileLoader):
    """Finds a module, and imports it with a mistake in it."""

    def __init__(self, mutant: Mutant):
        name = mutant.module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        super().__init__(name, str(ROOT / mutant.module))
        self.mutant = mutant

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def get_code(self, name):
        return self.mutant.compiled()


def put_into_functions(mutant: Mutant) -> bool:
    """Gives the functions that are there the code with the mistake; False where that takes an import."""
    file = str(ROOT / mutant.module)
    codes = [mutant.compiled()]
    for code in codes:
        codes += [part for part in code.co_consts if isinstance(part, types.CodeType)]
    [new] = [code for code in codes if code.co_qualname == mutant.outer] or [None]
    functions = [thing for thing in gc.get_objects() if isinstance(thing, types.FunctionType)]
    there = [f for f in functions if (f.__code__.co_filename, f.__code__.co_qualname) == (file, mutant.outer)]
    if new is None or not there or any(f.__code__.co_freevars != new.co_freevars for f in there):
        return False
    for function in there:
        function.__code__ = new
    return True


class Loop:
    """In the place of pytest's loop over the tests: one for each mutant, in a fork that stops at the first failure.

    The test that failed last is the first for the next mutant, which is often one of the same lines.
    """

    def __init__(self, chosen: list[Mutant], folder: Path):
        self.chosen, self.folder = chosen, folder

    def pytest_runtestloop(self, session):
        before = used()
        assert self.tried(session, None, 1e6) == PASSED, "the tests fail without any mutant"
        seconds = used() - before
        found = [self.tried(session, mutant, limit(seconds)) if mutant.outer else IMPORT for mutant in self.chosen]
        (self.folder / "found").write_text(json.dumps([found, seconds]), encoding="utf-8")
        return True

    def tried(self, session, mutant: Mutant | None, limit: float) -> int:
        def work() -> int:
            apart(self.folder, limit)
            if mutant and not put_into_functions(mutant):
                return IMPORT
            for i, (item, following) in enumerate(itertools.zip_longest(session.items, session.items[1:])):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    (self.folder / "failed").write_text(str(i), encoding="utf-8")
                    return FAILED
            if not mutant:
                (self.folder / "modules").write_text("\n".join(list(sys.modules)), encoding="utf-8")
            return PASSED

        code = in_fork(work, limit)
        if (failed := self.folder / "failed").exists():
            session.items.insert(0, session.items.pop(int(failed.read_text(encoding="utf-8"))))
            failed.unlink()
        return code


def limit(seconds: float) -> float:
    """Seconds of CPU until tests hang, which take so many without a mistake."""
    return 3 * seconds + SECONDS


def used() -> float:
    """The seconds of CPU of all forks that have ended."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def apart(folder: Path, limit: float) -> None:
    """In a fork: no output, no more CPU than this many seconds, and caches of images of its own."""
    os.setsid()
    os.chdir(tempfile.mkdtemp(dir=folder))
    resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def in_fork(work: Callable[[], int], limit: float) -> int:
    """The code that some work ends with in a fork, which its errors end; one that hangs is killed, and has failed."""
    pid = os.fork()
    if not pid:
        code = FAILED
        try:
            code = work()
        finally:
            os._exit(code)
    deadline = time.monotonic() + 20 * limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return FAILED


def run_pytest(tests: str, folder: Path, plugins: list) -> int:
    import pytest

    files = [
        "::".join([f"{ROOT}/tests/{file}.py", *one]) for file, *one in (test.split("::") for test in tests.split())
    ]
    options = ["-x", "-s", f"--config-file={ROOT}/pyproject.toml", f"--rootdir={ROOT}", f"--basetemp={folder}/tests"]
    options += ["-p", "no:cacheprovider", "-p", "no:unraisableexception", "-p", "no:threadexception"]
    options += ["-q", "--no-header", "--no-summary", "--disable-warnings", "--color=no", "--tb=native"]
    return int(pytest.main([*options, *files], plugins))


def passes(tests: str, mutant: Mutant, folder: Path, limit: float) -> bool:
    """Whether the tests pass where the module is imported with the mistake."""

    def work() -> int:
        apart(folder, limit)
        sys.meta_path.insert(0, Changed(mutant))
        return run_pytest(tests, folder, [])

    return in_fork(work, limit) == PASSED


def survivors(tests: str, chosen: list[Mutant], show: bool) -> tuple[list[str], float]:
    """Those of the mutants with which the tests pass, and the seconds of CPU that the tests take without any."""
    found = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name)
        if chosen and chosen[0].module.startswith("stages/"):  # whose tests then run that stage alone
            os.environ["HRRL_TESTS_MADE"] = f"{folder}/made{os.pathsep}{Path(chosen[0].module).stem}"
        in_fork(lambda: run_pytest(tests, folder, [Loop(chosen, folder)]), math.inf)
        codes, seconds = json.loads((folder / "found").read_text(encoding="utf-8"))
        warm_up((folder / "modules").read_text(encoding="utf-8").split())
        for mutant, code in zip(chosen, codes, strict=True):
            if code == PASSED or (code == IMPORT and passes(tests, mutant, folder, limit(seconds))):
                found.append(str(mutant))
                if show:
                    print(mutant, flush=True)
    return found, seconds


def warm_up(names: list[str]) -> None:
    """Imports the libraries that tests have imported, and nothing of the project."""
    for name in names:
        if name.partition(".")[0] not in PROJECT and name not in sys.modules:
            with contextlib.suppress(Exception):  # some are made by others, and cannot be imported
                importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or each child goes through all of it


def measure(module: str, sample: int, show: bool) -> dict:
    """The score of a module: of its mutants, or a sample of them, how many the tests find."""
    everything, alike = mutants(module), equivalent(module)
    real = [mutant for mutant in everything if mutant.name[1:] not in alike]
    chosen = real if len(real) <= sample else sorted(random.Random(0).sample(real, sample), key=lambda m: m.line)
    left, seconds = survivors(TESTS[module], chosen, show)
    killed = len(chosen) - len(left)
    return {
        "mutants": len(everything),
        "equivalent": len(everything) - len(real),
        "tried": len(chosen),
        "killed": killed,
        "percent": round(100 * killed / len(chosen), 1) if chosen else None,
        "target": METHOD if module.startswith(STRICT) else OTHERS,
        "seconds": round(seconds, 1),
        "survivors": left,
    }


def equivalent(module: str) -> set[tuple]:
    """(function, before, after, which) of the mutants that change nothing."""
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get(module, [])
    return {(e["function"], e["before"], e["after"], e.get("which", 1)) for e in entries}


def changed(base: str) -> list[str]:
    """The modules that differ from where the branch left ``base``, or whose tests do."""
    command = ["git", "diff", "--name-only", "--merge-base", base]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True).stdout.splitlines()
    return [module for module in TESTS if module in names]


def together() -> float:
    """The seconds of CPU that all these tests take in one process, each once."""
    named = dict.fromkeys(test for tests in TESTS.values() for test in tests.split())
    once = [test for test in named if "::" not in test or test.partition("::")[0] not in named]
    before = used()
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:

        def work() -> int:
            apart(Path(name), 3600)
            return run_pytest(" ".join(once), Path(name), [])

        assert in_fork(work, 3600) == PASSED, "the tests fail without any mutant"
    return round(used() - before)


def write(scores: dict) -> None:
    REPORT.write_text(json.dumps(scores, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["| module | mutants | equivalent | tried | killed | target | tests, CPU s |", "|---" + "|---:" * 6 + "|"]
    for module in filter(scores.get, TESTS):
        score = scores[module]
        percent = "" if score["percent"] is None else f"{score['percent']:.0f}%"
        if percent and score["percent"] < score["target"]:
            percent = f"**{percent}**"
        numbers = (score[key] for key in ("mutants", "equivalent", "tried"))
        rest = f"{percent} | {score['target']}% | {score['seconds']}"
        lines.append(f"| {module} | {' | '.join(map(str, numbers))} | {rest} |")
    lines += ["", "Bold: the target is missed. Of a module with more mutants than were tried, a random sample was."]
    if "together" in scores:
        lines += [f"The tests of all modules take {scores['together']} s of CPU in one process."]
    REPORT.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="in the place of those that changed")
    parser.add_argument("--all", action="store_true", help="every module")
    parser.add_argument("--base", default="origin/main", help="what a change is a difference from")
    parser.add_argument("--time", action="store_true", help="of all tests together, alone")
    parser.add_argument("--sample", type=int, default=10**6, help="mutants to try of each module, at most")
    parser.add_argument("--show", action="store_true", help="print what survives as it is found")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    known = json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else {}
    if arguments.time:
        write(known | {"together": together()})
        return
    modules = arguments.modules or (list(TESTS) if arguments.all else changed(arguments.base))
    if not modules:
        print("nothing that has mutants has changed; --all tries every module")
        return
    for module in modules:
        score = measure(module, arguments.sample, arguments.show)
        print(f"{module}: {score['killed']} of {score['tried']} killed", flush=True)
        known = json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else {}
        known[module] = score
        write({name: known[name] for name in (*TESTS, "together") if name in known})


if __name__ == "__main__":
    main()
