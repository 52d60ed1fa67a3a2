"""What surrounds the project stays outside: locales, settings of matplotlib, variables of others' launchers."""

import ast
import hashlib
import os
import pty
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ASCII, ROOT, call, python, run, script
from test_data import write_tree
from test_reporting import figures, made

from scripts.overview import MINUTE, View

OURS = ("hrrl", "stages", "scripts", "benchmarks")
HAVE_IT_AT = {"read_text": 0, "write_text": 1}  # the position of the encoding
DRAW = "import sys, hrrl.report; sys.path.append('tests'); from test_reporting import figures, made; "
DRAW += "figures(made(), sys.argv[1])"


def make_repository(folder) -> None:
    """Of git, with an empty commit."""
    for words in (["init"], ["commit", "--allow-empty", "--message=one"]):
        call(folder, "git", *words)


def hashes(folder) -> dict[str, str]:
    return {file.name: hashlib.md5(file.read_bytes()).hexdigest() for file in Path(folder).iterdir()}


def test_figures_are_those_of_no_settings(tmp_path):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nsavefig.dpi: 30\naxes.facecolor: red\n", "utf-8")
    figures(made(), tmp_path / "plain")
    given = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    python("-c", DRAW, tmp_path / "set", **given)
    assert hashes(tmp_path / "set") == hashes(tmp_path / "plain")
    assert len(hashes(tmp_path / "set")) >= 10
    asked = "import hrrl.report, matplotlib; print(matplotlib.get_backend())"
    assert python("-c", asked, MPLBACKEND="pdf") == "pdf\n"  # what else a notebook draws takes its kernel's


def test_names_that_the_locale_lacks_are_printed_as_escapes():
    program = r"from scripts import run; run(lambda: print('\u03c4-things'))"
    assert "\\u03c4-things" in python("-c", program, **ASCII)


def test_text_names_its_encoding():
    """Also where ruff's rule cannot tell that an object is a path."""
    silent = []
    for file in (path for folder in OURS for path in (ROOT / folder).rglob("*.py")):
        for one in (node for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.Call)):
            name = one.func.attr if isinstance(one.func, ast.Attribute) else getattr(one.func, "id", None)
            given = {keyword.arg for keyword in one.keywords}
            if name in ("read_text", "write_text", "run", "Popen") and ("text" in given or name.endswith("_text")):
                named = "encoding" in given or (name in HAVE_IT_AT and len(one.args) > HAVE_IT_AT[name])
                silent += [] if named else [f"{file.relative_to(ROOT)}:{one.lineno}"]
    assert silent == []


# Of schedulers and of a torchrun around everything; where they count, nobody answers there.
RANKS = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
RANKS |= {"MASTER_PORT": "29513", "PET_NNODES": "2", "PET_NODE_RANK": "1", "TORCHELASTIC_RUN_ID": "none"}
PLACE = """
from conftest import COMPUTE
from hrrl.train import launch, runtime
from hrrl.common.distributed import all_reduce
import torch

with runtime.start(COMPUTE) as here:
    sum_ = all_reduce(torch.ones(1)).item()
    print(f"<{here.rank} of {here.world_size}, writes {here.is_writer}, sum {sum_:g}>", flush=True)
    if here.rank == here.world_size - 1:
        launch.fail("the reason")
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_ranks_count_only_where_our_launcher_set_them(processes, tmp_path):
    """Where root may have one, with a host name that nothing resolves."""
    (tmp_path / "place.py").write_text(PLACE, "utf-8")
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", tmp_path)))
    started = ["hrrl.train.launch", "--standalone", "--nproc-per-node=2", "--module"] if processes == 2 else []
    command = [sys.executable, "-m", *started, "place"]
    named = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', "node17.cluster.invalid"]
    if not run(*named, "true").returncode:
        command = [*named, *command]
    done = run(*command, **RANKS, folder=tmp_path, PYTHONPATH=paths, TORCHELASTIC_ERROR_FILE=f"{tmp_path}/not-ours")
    lines = sorted(re.findall(r"<[^>]+>", done.stdout))  # two processes may share a line
    assert lines == [f"<{i} of {processes}, writes {i == 0}, sum {processes}>" for i in range(processes)]
    assert (done.returncode, done.stderr.strip().splitlines()[-1]) == (1, "the reason")
    assert not (tmp_path / "not-ours").exists()


SMALL_MEMORY = """
from hrrl.data.loading import open_split
from hrrl.data.manifest import prepare
from hrrl.settings.schema import Dataset

prepare(Dataset(kind="imagefolder", root="images"), "mine").write("manifest")
sums = []
for workers in (0, 2):
    batches = list(open_split("manifest", "images", "train", 128, workers).eval_batches(4))
    sums.append([int(x.long().sum()) for x, _ in batches])
print("equal:", sums[0] == sums[1], len(sums[1]))
"""


def test_little_shared_memory(tmp_path):
    command = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=100k tmpfs /dev/shm && exec "$@"', "sh"]
    if run(*command, "true").returncode:
        pytest.skip("only root may have a shared memory of its own")
    write_tree(tmp_path / "images", train=12, val=1)  # more than a worker takes at a time
    done = run(*command, sys.executable, "-c", SMALL_MEMORY, folder=tmp_path, PYTHONPATH=str(ROOT))
    assert done.stdout.splitlines()[-1:] == ["equal: True 9"], done.stderr


def test_without_a_home(tmp_path):
    """As in a container whose user has no line in /etc/passwd, and no HOME: an installed package, and `make repro`."""
    nobody = ["unshare", "--user", "--map-user=54321", "env", "--unset=HOME", "--unset=USER", "--unset=LOGNAME"]
    if run(*nobody, "true").returncode:
        pytest.skip("this system gives nobody another uid")
    program = (
        "import hrrl, torch; from hrrl.concepts.wordnet import open_wordnet; from hrrl import params;"
        "from hrrl.train import runtime, training;"
        "net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2));"
        "print(hrrl.perturb(net, torch.ones(1, 3, 2, 2), torch.zeros(1).long(), 1.0).shape);"
        "print(hrrl.group_classes(['dog'], synsets={'dog': 'dog.n.01'}))"
    )
    shutil.copytree(ROOT / "hrrl", tmp_path / "hrrl")
    somebody = "import getpass, pathlib, scripts; print(getpass.getuser(), pathlib.Path.home().is_dir())"
    for source, options, lines in (
        (program, {"without": ["PYTHONPATH"]}, ["torch.Size([1, 3, 2, 2])", "{'dog': 'dog'}"]),
        (somebody, {"PYTHONPATH": str(ROOT)}, ["user54321 True"]),
    ):
        done = run(*nobody, sys.executable, "-c", source, folder=tmp_path, **options)
        assert done.stdout.splitlines() == lines, done.stderr[-2000:]


def test_a_stage_runs_in_the_projects_environment_whatever_python_comes_first(tmp_path):
    project, other = tmp_path / "My Drive" / "hrrl", tmp_path / "other"
    for folder in ("hrrl", "stages"):
        shutil.copytree(ROOT / folder, project / folder)
    (project / ".venv").symlink_to(sys.prefix)
    (project / "show.py").write_text("import stages.common, sys, numpy; print(sys.prefix)", "utf-8")
    venv.create(other, symlinks=True)
    (next(other.glob("lib/python*/site-packages")) / "dvc.py").touch()  # as in conda's own environment
    for more in ({}, {"PYTHONHOME": sys.base_prefix}):
        done = run(other / "bin/python", "-m", "show", folder=project, without=["PYTHONPATH", "VIRTUAL_ENV"], **more)
        assert done.stdout.strip() == str(project / ".venv"), done.stderr[-2000:]


def test_a_script_says_in_a_line_which_library_its_python_lacks():
    done = run(sys.executable, "-S", "-m", "scripts.repro", without=["PYTHONPATH"])
    assert done.returncode == 1
    assert re.fullmatch(r".*python.*: No module named 'ruamel'; run `make setup`.*\.venv/bin/python\n", done.stderr)


def old_python() -> str:
    """A Python before 3.11 that this machine has."""
    places = os.pathsep.join([*map(str, Path.home().glob(".pyenv/versions/*/bin")), os.environ["PATH"]])
    found = (shutil.which(f"python3.{minor}", path=places) for minor in (10, 9, 8))
    return next((path for path in found if path and not run(path, "-c", "").returncode), None) or pytest.skip(
        "this machine has no Python before 3.11"
    )


def set_up(folder, python, **environment) -> subprocess.CompletedProcess:
    """scripts/venv.sh in a project with one requirement."""
    shutil.copytree(ROOT / "scripts", folder / "scripts", dirs_exist_ok=True)
    (folder / "requirements.txt").write_text("--no-index\n--find-links .\none==1  # word\n", "utf-8")
    about = {"METADATA": "Metadata-Version: 2.1\nName: one\nVersion: 1\n", "RECORD": ""}
    about["WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / "one-1-py3-none-any.whl", "w") as wheel:
        for name, text in about.items():
            wheel.writestr(f"one-1.dist-info/{name}", text)
    return run("sh", "scripts/venv.sh", folder=folder, PYTHON=str(python), **environment)


def test_setup_says_which_python_it_needs_and_takes_the_right_one_afterwards(tmp_path):
    old, new = old_python(), Path(sys.base_prefix, "bin/python3")
    done = set_up(tmp_path, old)
    assert done.returncode == 1
    assert re.fullmatch(r".* is Python 3\.\d+; the project needs 3.11 or newer .*\n", done.stderr)
    run(old, "-m", "venv", "--without-pip", tmp_path / ".venv")  # as once was made
    settings = tmp_path / "pip.conf"
    settings.write_text(f"[install]\ntarget = {tmp_path}/elsewhere\n", "utf-8")
    done = set_up(tmp_path, new, PIP_CONFIG_FILE=str(settings))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("pip put the packages elsewhere")  # or make would take .venv for made
    shown = run(tmp_path / ".venv/bin/python", "-c", "import sys; print(*sys.version_info[:2])").stdout
    assert shown.split() == [*map(str, sys.version_info[:2])]
    assert "making .venv anew" in done.stdout
    (tmp_path / ".venv/kept").touch()
    settings.write_text("[install]\nuser = true\ndry-run = true\n", "utf-8")
    (tmp_path / "constraint.txt").write_text("one==2\n", "utf-8")  # as NVIDIA's containers have for their own torch
    theirs = {"PIP_CONSTRAINT": str(tmp_path / "constraint.txt"), "PIP_USER": "1", "PYTHONPATH": "/nowhere"}
    done = set_up(tmp_path, new, PIP_CONFIG_FILE=str(settings), **theirs)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".venv/kept").exists()


def test_a_clone_with_crlf_has_the_same_bytes(tmp_path):
    if run("git", "rev-parse").returncode:
        pytest.skip("this is no clone")
    assert run("git", "clone", "--quiet", "-c", "core.autocrlf=true", ROOT, tmp_path / "windows").returncode == 0
    listed = run("git", "ls-files", "--eol", folder=tmp_path / "windows").stdout
    endings = [line.split() for line in listed.splitlines()]
    assert len(endings) > 100
    assert [line for line in endings if line[0].removeprefix("i/") != line[1].removeprefix("w/")] == []


PLACED = "import os, scripts, stages.common; print(os.environ.get('HRRL_PLACED'))"  # where cells take no GPUs


@pytest.mark.parametrize("case", ["zip", "another_user", "clone", "hook"])
def test_what_git_can_tell(case, tmp_path):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    program = "from scripts import commits; print(commits.let_dvc_do_without())"
    environment = {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    (tmp_path / ".dvc").mkdir()
    if case != "zip":
        make_repository(tmp_path)
    if case == "another_user":
        environment["GIT_TEST_ASSUME_DIFFERENT_OWNER"] = "1"
    if case == "hook":  # of another repository, without a commit; and in a stage of another pipeline
        run("git", "init", "--quiet", tmp_path / "other")
        environment |= {"GIT_DIR": str(tmp_path / "other/.git"), "DVC_STAGE": "train"}
        assert python("-c", PLACED, folder=tmp_path, **environment) == "None\n"
    (tmp_path / "dvc.yaml").write_text("stages: {}\n", "utf-8")
    expected = {"zip": "this is no git clone", "another_user": "the clone is another user's; git config"}
    for _ in range(2 if case == "zip" else 1):  # the note stays; the setting is written once
        said = python("-c", program, folder=tmp_path, **environment).strip()
        assert said.startswith(expected.get(case, ""))
        assert bool(said) == (case in expected)
        assert (tmp_path / ".dvc/config.local").exists() == (case == "zip")
    if case != "clone":  # as everywhere
        python("-m", "dvc", "status", folder=tmp_path, **environment)


def test_make_passes_on_what_its_command_line_says_alone(tmp_path):
    """SUSE exports a CPU; modules of clusters, and ROS, a PYTHONPATH with another Python's packages."""
    script(tmp_path / "python", 'echo "$@ <$PYTHONPATH$PYTHONSAFEPATH$PYTHONHOME$PYTHONWARNINGS>"\n')
    given = {"CPU": "x86_64", "N": "7", "RUN": "tests", "PYTHONPATH": "/x", "PYTHONSAFEPATH": "1", "PYTHONHOME": "/x"}
    given |= {"JOBS": "max"}  # as npm packages have it
    given["PYTHONWARNINGS"] = "error"  # which ends DVC at what its libraries warn of
    for target, said, expected in (
        ("verify", ["CPU=Haswell"], " --cpu Haswell"),
        ("verify", [], ""),
        ("repro", ["JOBS=4"], " --jobs 4"),
        ("repro", [], ""),
    ):
        done = run("make", "--silent", "--old-file=setup", target, f"BIN={tmp_path}", *said, **given)
        assert done.stdout == f"-m scripts.{target}{expected} <>\n", done.stderr


def test_dvc_runs_in_a_clone_that_was_moved_for_a_user_without_a_shell(tmp_path):
    """Pip's command names the old folder's Python; a service's user has nologin, which ends whatever it is to run."""
    venv.create(tmp_path / ".venv", symlinks=True)
    packages = next(tmp_path.glob(".venv/lib/python*/site-packages")) / "theirs.pth"
    packages.write_text("\n".join(path for path in sys.path if path.endswith("-packages")), "utf-8")
    (tmp_path / "dvc.yaml").write_text("stages: {one: {cmd: echo made > out, outs: [out]}}\n", "utf-8")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\nno_scm = true\n", "utf-8")
    program = "from scripts import cells; cells.dvc('repro')"
    given = {"PYTHONPATH": str(ROOT), "SHELL": "/bin/false"}
    done = run(tmp_path / ".venv/bin/python", "-c", program, folder=tmp_path, **given)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "out").read_text("utf-8") == "made\n"


@pytest.mark.parametrize(
    ("variables", "terminal", "picture"),
    [({"FORCE_COLOR": "1"}, False, False), ({"TERM": "dumb"}, True, False), ({"TERM": "xterm"}, True, True)],
)
def test_the_picture_is_for_terminals_that_can_show_it(variables, terminal, picture, monkeypatch):
    """In a log of CI, which asks for colours, it would be two pages of codes a second; in Emacs nothing to the end."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    ends = pty.openpty()
    with open(ends[1], "w", encoding="utf-8") as end, open(ends[0], "rb"):
        if terminal:
            monkeypatch.setattr(sys, "stdout", end)
        assert (View(SimpleNamespace(status={})).picture is not None) == picture


def test_cells_that_wait_are_told_in_a_log(capsys):
    view = View(SimpleNamespace(status={}))
    view.run.status["svm@a-0"] = "called"
    view.last -= 2 * MINUTE
    view.tick()
    assert capsys.readouterr().out == "waiting: svm@a-0; their logs say for what\n"


# Lets flock fail as Lustre does where it is mounted without locks, by a filter of system calls.
WITHOUT_LOCKS = """
import ctypes, errno, fcntl, os, struct, sys
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 73), (6, 0, 0, 0x50000 | errno.ENOSYS), (6, 0, 0, 0x7FFF0000)]
rules = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(rules)))
libc = ctypes.CDLL(None)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
    sys.exit("no filter")
try:
    fcntl.flock(1, fcntl.LOCK_SH)
except OSError as error:
    assert error.errno == errno.ENOSYS
else:
    sys.exit("no effect")
from pathlib import Path
from hrrl.common.files import locked
with locked(Path("locks/one")) as number:
    print("held", os.fstat(number).st_size)
from hrrl.settings import gpus
print(gpus.take(), os.environ["CUDA_DEVICE_ORDER"])
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls are x86-64's")
def test_work_goes_on_where_the_file_system_has_no_locks(tmp_path):
    given = {"TMPDIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0"}
    assert python("-c", WITHOUT_LOCKS, folder=tmp_path, **given) == "held 0\n['0'] PCI_BUS_ID\n"


def test_what_the_system_refuses_is_a_line(tmp_path):
    """Nothing can be written; what is printed has no reader, as after `| head`, or no place, as a daemon's."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / ".work").touch()
    make_repository(tmp_path)
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    for place in ("", ">&-"):
        command = ["sh", "-c", f'exec "$0" -m scripts.repro {place}', sys.executable]
        done = run(*command, folder=tmp_path, PYTHONPATH=path)
        assert done.returncode
        assert re.fullmatch(r"\[Errno \d+\] [\w ]+: '.work'\n", done.stdout + done.stderr)
    program = "from scripts import run; run(lambda: print(*range(100000)))"
    done = run("sh", "-c", f'{{ "{sys.executable}" -c "{program}"; echo $? >&2; }} | true')
    assert done.stderr == "1\n"
