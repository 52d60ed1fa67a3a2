"""Whether a run is the committed one: cells made again in a clone of their own, and what make repro says at its end."""

from conftest import call

from hrrl import arithmetic
from scripts import committed


def test_a_committed_cell_is_made_again_with_the_same_bytes(clone):
    shown = call(clone, "python", "-m", "scripts.verify", "--cells", "manifest-target@digits")
    assert "identical to the committed run: " in shown


def test_another_run_is_not_made_in_the_arithmetic_of_params_yaml(clone):
    set_here = "{*arithmetic.PORTABLE} & {*os.environ}"
    program = f"import os; from hrrl import arithmetic; from scripts import verify; print({set_here})"
    unset = [f"--unset={name}" for name in arithmetic.PORTABLE]  # by other tests in this process
    assert call(clone, "env", *unset, "python", "-c", program) == "set()\n"


def test_what_differs_is_named(restored):
    lock = restored / "dvc.lock"
    text = lock.read_text(encoding="utf-8")
    block = text.index("  given@erm:")
    at = text.index("md5: ", text.index("    outs:", block)) + len("md5: ")
    lock.write_text(text[:at] + "f" * 32 + text[at + 32 :], encoding="utf-8")
    call(restored, "git", "commit", "-qam", "another hash")
    shown = call(restored, "python", "-m", "scripts.verify", "--cells", "given@erm", ok=False)
    assert "different from the committed run: 1 of 2 outputs, the first of them\n  data/selected/erm.json, of" in shown
    (restored / "machine.yaml").write_text("jobs: 0\n", encoding="utf-8")
    shown = call(restored, "python", "-m", "scripts.verify", "--cells", "given@erm", ok=False)
    assert "machine.yaml: jobs: takes a whole number" in shown  # GPUs and SLURM count there, too
    assert not list((restored / ".work").glob("verify-*"))


def test_an_output_that_is_missing_differs_and_one_that_is_new_does_not():
    lock = "stages: {a: {outs: [{path: x, md5: '1', nfiles: 3}, {path: y, md5: '2'}]}}"
    run, made = committed.Run(committed.LAST, "compute: {arithmetic: native}", lock), committed.stages(lock)
    made["a"]["outs"].append({"path": "z", "md5": "3"})
    assert committed.compared(run, made, made) == (True, ["identical to the committed run: 5 of 5 files"])
    made["a"]["outs"] = made["a"]["outs"][:1]
    same, [first, second, *_] = committed.compared(run, made, made)
    assert (same, second) == (False, "  y, of a")
    assert first.startswith("different from the committed run: 1 of 2 outputs")


def test_a_cell_or_run_that_is_none_is_one_line(clone):
    for words, line in (
        (["--cells", "svm@no-0"], "svm@no-0: the dvc.lock of"),
        (["none"], "results/none/dvc.lock: no"),
    ):
        assert line in call(clone, "python", "-m", "scripts.verify", *words, ok=False).splitlines()[-1]
