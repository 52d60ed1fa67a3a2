"""Cells on GPUs of their own, and as jobs of a real SLURM that the tests start: stand-ins that compute nothing, and one
training of the smoke preset. Without Debian's slurm-wlm and munge, or without root, those of SLURM are skipped."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from stages import place

import pytest
from conftest import BIN, OUTPUT, ROOT, call, edit, ending, outdated, run, script, wait_for

PARAMS = """
compute: {arithmetic: native, device: auto, threads: 1}
launch: {nproc: 1, nnodes: 1}
"""
STAGES = """
stages:
  pretrain:
    matrix: {variant: [a, b], seed: [0, 1]}
    cmd: exec python -m stages.pretrain
    deps: ["in/${item.variant}.txt"]
    outs: ["out/pretrain@${item.variant}-${item.seed}"]
  svm:
    matrix: {variant: [a], seed: [0]}
    cmd: exec python -m stages.svm
    deps: [in]
    outs: ["out/svm@${item.variant}-${item.seed}"]
"""
# In the place of a stage: notes when and where it runs, and does as in/<variant>.txt says.
CELL = """
import os, signal, sys, time
from pathlib import Path
from stages.common import run

def main(params, variant, seed):
    how, name = Path(f"in/{variant}.txt").read_text(), os.environ["DVC_STAGE"]
    Path("out").mkdir(exist_ok=True)
    with open(f"out/{name}", "a") as file:
        file.write(f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {time.time()} ")
        file.flush()
        print("hello from", name, flush=True)
        signal.signal(signal.SIGUSR2, lambda *_: any(Path(".work/checkpoints").rglob("*.pt")) and sys.exit(1))
        while how == "wait" and not Path("go").exists():
            time.sleep(0.05)
        if how == "die":
            os.killpg(0, signal.SIGKILL)
        if how == "fail":
            raise OSError("the disk is full")
        time.sleep(0.3)
        file.write(f"{time.time()}\\n")

run(main, "variant", "seed")
"""


@pytest.fixture
def project(tmp_path):
    """The stages that are started, and two stand-ins for the rest."""
    tmp_path = tmp_path / "at 100%j"  # sbatch would put a job's id there
    for folder in ("hrrl", "stages"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    for stage in ("pretrain", "svm"):
        (tmp_path / f"stages/{stage}.py").write_text(CELL, encoding="utf-8")
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text(STAGES, encoding="utf-8")
    (tmp_path / "in").mkdir()
    (tmp_path / "tmp").mkdir()
    for variant in "ab":
        (tmp_path / f"in/{variant}.txt").write_text("", encoding="utf-8")
    return tmp_path


def start(project: Path, cell: str, **environment) -> subprocess.Popen:
    """A cell as DVC starts it."""
    stage = cell.partition("@")[0]
    variables = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    variables |= {"DVC_STAGE": cell, "TMPDIR": str(project / "tmp"), **environment}
    return subprocess.Popen([sys.executable, "-m", f"stages.{stage}"], cwd=project, env=variables, **OUTPUT)


def started(*args, **environment):
    """A cell, which is killed where it has not ended."""
    return ending(start(*args, **environment))


def said(*args, status=0, within=300, **environment) -> str:
    """What a cell says until its end, which is one with this status, within so many seconds."""
    with started(*args, **environment) as run:
        out = run.communicate(timeout=within)[0]
    assert run.returncode == status, out
    return out


def let(project: Path, do: str) -> None:
    """The cells of variant a wait, fail, die, or ("") nothing of it."""
    (project / "in/a.txt").write_text(do, encoding="utf-8")


def set_constant(project: Path, name: str, value: str) -> None:
    """In the project's stages/slurm.py."""
    code = project / "stages/slurm.py"
    text, found = re.subn(rf"^{name} = .*$", f"{name} = {value}", code.read_text(), flags=re.MULTILINE)
    assert found == 1
    code.write_text(text)


def ran(project: Path, cell: str) -> list[list[str]]:
    """What each run of a cell noted: GPUs, begin, end."""
    return [line.split() for line in (project / "out" / cell).read_text().splitlines()]


def turns(spans, gpu: str) -> list[tuple]:
    """(begin, end) of what ran on a GPU, one after the other."""
    own = sorted((float(began), float(ended)) for used, began, ended in spans if used == gpu)
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(own))
    return own


def machine(project: Path, **settings) -> None:
    (project / "machine.yaml").write_text(json.dumps(settings), encoding="utf-8")


def test_two_cells_never_share_a_gpu_and_those_without_a_network_take_none(project):
    machine(project, gpus=[3, 5])
    cells = ["pretrain@a-0", "pretrain@a-1", "pretrain@b-0", "pretrain@b-1", "svm@a-0"]
    runs = [start(project, cell, CUDA_VISIBLE_DEVICES="1") for cell in cells]  # machine.yaml comes before it
    assert [(run.wait(), run.stdout.read())[0] for run in runs] == [0] * 5
    spans = {cell: ran(project, cell)[0] for cell in cells}
    assert spans.pop("svm@a-0")[0] == "1"  # as it was
    assert {gpu for gpu, *_ in spans.values()} == {"3", "5"}
    assert all(turns(spans.values(), gpu) for gpu in ("3", "5"))


def test_a_cell_takes_as_many_gpus_as_it_has_processes_and_says_where_there_are_fewer(project):
    machine(project, gpus=3)
    processes = PARAMS.replace("nproc: 1", "nproc: 2")
    (project / "params.yaml").write_text(processes, encoding="utf-8")
    said(project, "pretrain@a-0")
    assert ran(project, "pretrain@a-0")[0][0] == "0,1"
    (project / "machine.yaml").unlink()
    listed = "GPU 0: NVIDIA A100\n  MIG 1g.5gb Device 0: (UUID: MIG-1)\nGPU 1: NVIDIA A100\n"
    script(project / "nvidia-smi", f"printf '{listed}'\n")
    (project / "params.yaml").write_text(PARAMS.replace("nproc: 1", "nproc: 3"), encoding="utf-8")
    out = said(project, "pretrain@a-0", status=1, PATH=f"{project}{os.pathsep}{os.environ['PATH']}")
    assert out == "launch.nproc: takes at most 2, one for each GPU (0, 1); got 3\n"
    (project / "params.yaml").write_text(processes, encoding="utf-8")
    machine(project, gpus=3, stages={"pretrain": {"gpus": [7]}})
    out = said(project, "pretrain@a-0", status=1)
    assert out == "launch.nproc: takes at most 1, one for each GPU (7); got 2\n"
    machine(project, stages={"pretrian": {"gpus": [7]}})
    out = said(project, "pretrain@a-0", status=1)
    assert "machine.yaml: stages.pretrian: no stage; known: pretrain, svm" in out
    params = {"launch": {"nnodes": 2, "nproc": 4}, "compute": {"arithmetic": "native", "device": "auto"}}
    shapes = [place.shape(stage, params) for stage in ("pretrain", "features", "svm", "preflight")]
    assert shapes == [(2, 4), (1, 1), (1, 0), (1, 4)]
    for cpu in ({"arithmetic": "portable", "device": "auto"}, {"arithmetic": "native", "device": "cpu"}):
        assert [place.shape(stage, params | {"compute": cpu}) for stage in ("pretrain", "preflight")] == [
            (2, 0),
            (1, 0),
        ]
    machine(project, gpus=3)
    (project / "tmp/hrrl-gpus").rename(project / "locks")
    (project / "tmp/hrrl-gpus").touch()
    out = said(project, "pretrain@a-0", status=1)
    assert out == f"[Errno 20] Not a directory: '{project}/tmp/hrrl-gpus/door'\n"


def test_a_cell_writes_its_log_and_its_note_whatever_other_launchers_export(project):
    logs, others = project / "logs", {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}
    logs.mkdir()
    assert said(project, "pretrain@a-0", HRRL_LOGS=str(logs), HRRL_RUN=str(os.getpid()), **others) == ""
    assert (logs / "pretrain@a-0.log").read_text() == "hello from pretrain@a-0\n"
    assert json.loads((logs / "pretrain@a-0.json").read_text())["status"] == 0


def test_a_gpu_is_taken_from_a_folder_below_and_its_lock_is_everybodys(project):
    """DVC names the cell by dvc.yaml's place then; many clusters have a umask of 077."""
    machine(project, gpus=[3])
    before = os.umask(0o077)
    try:
        run = start(project, "pretrain@a-0", DVC_STAGE="../dvc.yaml:pretrain@a-0")
    finally:
        os.umask(before)
    assert run.communicate()[0] == "hello from pretrain@a-0\n"
    assert ran(project, "pretrain@a-0")[0][0] == "3"
    assert {path.stat().st_mode & 0o777 for path in (project / "tmp/hrrl-gpus").iterdir()} == {0o644}


def test_a_link_in_the_place_of_a_folder_of_outputs_is_refused_before_a_cell_computes(project):
    """By DVC, with git, only afterwards."""
    (project / "big").mkdir()
    (project / "out").symlink_to("big")
    said(project, "pretrain@a-0")
    (project / ".git").mkdir()
    refusal = "out: is a link, and DVC takes no outputs behind one"
    assert said(project, "pretrain@a-0", status=1).startswith(refusal)
    assert len(ran(project, "pretrain@a-0")) == 1


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ({"CUDA_VISIBLE_DEVICES": "-1"}, {"CUDA_VISIBLE_DEVICES": "-1"}, "-1"),  # hides all
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "1"}, {"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_ID": "2"}, "0"),
        ({"CUDA_VISIBLE_DEVICES": "0,0"}, {"CUDA_VISIBLE_DEVICES": "MIG-GPU-1/1/2,1"}, "MIG-GPU-1/1/2"),
    ],
)
def test_a_cell_waits_for_no_gpu_that_is_hidden_or_another_jobs(project, first, second, shown):
    """A cluster may show each job's GPU as its number 0."""
    let(project, "wait")
    with started(project, "pretrain@a-0", **first):
        wait_for((project / "out/pretrain@a-0").exists)
        assert said(project, "pretrain@b-0", within=60, **second) == "hello from pretrain@b-0\n"
    assert ran(project, "pretrain@b-0")[0][0] == shown


def test_a_killed_cell_gives_its_gpu_back(project):
    machine(project, gpus=1)
    let(project, "wait")
    with started(project, "pretrain@a-0") as first:
        wait_for((project / "out/pretrain@a-0").exists)
        with started(project, "pretrain@b-0") as second:
            assert second.stdout.readline() == "waits for 1 of the GPUs 0\n"
            first.kill()
            assert second.wait(60) == 0


@pytest.fixture(scope="module")
def slurm():
    """SLURM with two GPUs (/dev/null by other names) and two CPUs, for this module alone; its folder."""
    if os.geteuid() or not all(map(shutil.which, ("munged", "slurmctld", "slurmd"))):
        pytest.skip("needs slurm-wlm and munge (make setup-test), and root")
    folder, host = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp")), socket.gethostname().partition(".")[0]
    folder.chmod(0o755)
    (folder / "munge").mkdir()
    (folder / "munge/key").write_bytes(os.urandom(1024))
    for path in (folder / "munge", folder / "munge/key"):
        shutil.chown(path, "munge", "munge")
    (folder / "munge/key").chmod(0o400)
    for i in range(2):
        subprocess.run(["mknod", folder / f"gpu{i}", "c", "1", "3"], check=True)
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    control, node = (port.getsockname()[1] for port in ports)
    for port in ports:
        port.close()
    (folder / "slurm.conf").write_text(
        f"""ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
SlurmUser=root
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
MpiDefault=none
ReturnToService=2
KillWait=2
SlurmctldPort={control}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 Gres=gpu:2 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=main Nodes=ALL Default=YES State=UP
PartitionName=urgent Nodes=ALL PriorityTier=9 State=UP
"""
    )
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-1]\n")
    tied = ["setpriv", "--pdeathsig=TERM"]  # also where this process is killed
    munge = [*tied, "--reuid=munge", "--regid=munge", "--clear-groups", "munged", "-F", "--force"]
    names = ("socket", "pid-file", "log-file", "seed-file", "key-file")
    munge += [f"--{name}={folder}/munge/{name.split('-')[0]}" for name in names]
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    daemons = []
    try:
        for daemon in (munge, [*tied, "slurmctld", "-D"], [*tied, "slurmd", "-D"]):
            with open(folder / f"{len(daemons)}.log", "wb") as log:
                daemons.append(subprocess.Popen(daemon, stdout=log, stderr=log, start_new_session=True))
            time.sleep(0.5)
        ready = wait_for(lambda: "idle" in subprocess.run(["sinfo", "-ho", "%T"], **OUTPUT).stdout, 60)
        assert ready, "".join(log.read_text() for log in folder.glob("*.log"))
        yield folder
    finally:
        subprocess.run(["scancel", "--me"], **OUTPUT)
        wait_for(lambda: not queue(), 20)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)
        os.environ.pop("SLURM_CONF")
        shutil.rmtree(folder, ignore_errors=True)


def queue() -> list[list[str]]:
    """(id, state) of the jobs that are not over."""
    lines = subprocess.run(["squeue", "-ho", "%i %T"], **OUTPUT).stdout.splitlines()
    return [line.split() for line in lines]


def test_cells_wait_for_two_slots_each_with_a_gpu_of_its_own(project, slurm):
    (project / "dvc.yaml").write_text(STAGES.replace("seed: [0, 1]", "seed: [0, 1, 2]"), encoding="utf-8")
    machine(project, engine="slurm", stages={"svm": {"engine": "local"}})
    cells = [f"pretrain@{variant}-{seed}" for variant in "ab" for seed in range(3)]
    runs = [start(project, cell) for cell in cells]
    printed = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 6, printed
    assert all(f"hello from {cell}\n" in text for cell, text in zip(cells, printed, strict=True))
    assert any("waits: Resources" in text or "waits: Priority" in text for text in printed)
    spans = [ran(project, cell) for cell in cells]
    assert [len(span) for span in spans] == [1] * 6  # no cell twice
    assert all(len(turns([one for [one] in spans], gpu)) > 1 for gpu in ("0", "1"))


def test_a_job_is_told_its_cell_whatever_the_user_wants_of_slurms_commands(project, slurm):
    machine(project, engine="slurm")
    wishes = {"SBATCH_EXPORT": "NONE", "SQUEUE_STATES": "all", "SBATCH_ARRAY_INX": "0-1"}
    for _ in range(2):  # the second is not told that the first one's job has it
        said(project, "pretrain@a-0", **wishes)
    assert len(ran(project, "pretrain@a-0")) == 2


# A cluster's own sbatch: the first answer gets lost, others come after a banner.
SBATCH = """
echo "Welcome to cluster 3"
[ -e told ] && exec {sbatch} "$@"
touch told
{sbatch} "$@"
echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2
exit 1
"""


def test_a_job_is_taken_once_whatever_sbatch_answers(project, slurm):
    machine(project, engine="slurm")
    set_constant(project, "FULL_QUEUE", "1.0")
    script(project / "sbatch", SBATCH.format(sbatch=shutil.which("sbatch")))
    path = f"{project}{os.pathsep}{os.environ['PATH']}"
    let(project, "wait")
    with started(project, "pretrain@a-0", PATH=path) as run:
        assert run.stdout.readline().startswith("waits until SLURM takes the job: Batch job submission failed: Socket")
        time.sleep(2)
        (project / "go").touch()
        assert run.wait(60) == 0
    assert said(project, "pretrain@a-1", within=60, PATH=path) == "hello from pretrain@a-1\n"
    assert [len(ran(project, f"pretrain@a-{seed}")) for seed in range(2)] == [1, 1]


def test_a_clone_cancels_the_jobs_of_dvcs_copies_of_it_too(project, slurm):
    copy = project / ".dvc/tmp/exps/tmpabc"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".dvc"))
    machine(copy, engine="slurm")
    let(copy, "wait")
    with started(copy, "pretrain@a-0") as run:
        wait_for(queue)
        other = ["sbatch", "--parsable", "--hold", "--job-name=hrrl-pretrain@a-0", "--output=/dev/null", "--wrap=true"]
        other = call(project, *other).strip()
        assert call(project, "python", "-m", "stages.slurm", "cancel") == "1 jobs cancelled\n"
        assert [job for job, _ in queue()][-1] == other  # another clone's
        subprocess.run(["scancel", other], check=True)
        assert run.communicate(timeout=60)[0].splitlines()[-1].endswith("was cancelled (scancel)")


def test_what_goes_wrong_is_a_line(project, slurm):
    def line(do: str = "", **settings) -> str:
        machine(project, engine="slurm", **settings)
        let(project, do)
        out = said(project, "pretrain@a-0", status=1, SBATCH_WAIT="1", SBATCH_ERROR="/dev/null")
        assert "Traceback" not in out
        return out.splitlines()[-1]

    assert "SLURM refuses the job (invalid partition specified: none" in line(partition="none")
    assert "PartitionConfig: SLURM has no such place for it" in line(cpus=64)
    assert "Invalid feature specification" in line(constraint="h900")
    assert "Memory specification can not be satisfied" in line(memory="900T")
    assert "with status 1; what it said stands above" in line("fail")
    assert "the disk is full" in (project / ".work/jobs/pretrain@a-0.out").read_text()
    assert "without a word" in line("die")
    assert (project / "out/pretrain@a-0").read_text().count("\n") == 0  # neither is tried again
    done = run(sys.executable, "-m", "stages.slurm", "cancel", folder=project, SLURM_CONF=os.devnull)
    out = done.stdout + done.stderr
    assert (done.returncode, out.count("\n")) == (1, 1)
    assert out.startswith("no job is cancelled")


def test_a_cancelled_job_is_a_line_and_one_whose_head_was_killed_is_found(project, slurm):
    machine(project, engine="slurm", time="1-02:00", account="lab")
    let(project, "wait")
    with started(project, "pretrain@a-0"):  # and killed
        wait_for((project / "out/pretrain@a-0").exists)
        [[job, _]] = queue()
        assert call(project, "squeue", "-ho", "%l %a").split() == ["1-02:00:00", "lab"]
    with started(project, "pretrain@a-0") as head:
        assert head.stdout.readline() == f"job {job} has it already\n"
        (project / "go").touch()
        assert head.wait(60) == 0
    assert len(ran(project, "pretrain@a-0")) == 1
    (project / "go").unlink()
    with started(project, "pretrain@a-0"):  # and killed
        [[job, _]] = wait_for(queue)
    let(project, "")  # other inputs: that job is none for them
    said(project, "pretrain@a-0", within=60)
    assert queue() == []
    let(project, "wait")
    with started(project, "pretrain@a-0") as head:
        wait_for(lambda: queue() and queue()[0][1] == "RUNNING")
        subprocess.run(["scancel", "--me"], check=True)
        assert head.communicate()[0].splitlines()[-1].endswith("was cancelled (scancel)")


def test_what_a_job_wrote_counts_for_the_inputs_that_it_read_alone(project, slurm):
    """Nobody waits for it, and what it reads changes before it begins anew, or meanwhile; or its outputs do."""
    machine(project, engine="slurm")
    set_constant(project, "LATE", "0.0")
    out = project / "out/pretrain@a-0"
    record, end = (project / f".work/jobs/pretrain@a-0.{name}" for name in ("json", "end"))

    def taken() -> str:
        return call(project, "python", "-c", "from stages import slurm; print(*slurm.finished())").strip()

    for change in ("before", "meanwhile", None):
        let(project, "wait")
        out.unlink(missing_ok=True)
        with started(project, "pretrain@a-0"):  # and killed
            wait_for(lambda: out.exists() and record.exists())
        if change:
            let(project, "")
        if change == "before":
            subprocess.run(["scontrol", "requeue", queue()[0][0]], check=True)
        else:
            (project / "go").touch()
        wait_for(end.exists)
        (project / "go").unlink(missing_ok=True)
        noted = record.read_text()
        assert out.read_text().count(".") == (1 if change == "before" else 2)
        let(project, "wait")
        assert taken() == ("" if change else "pretrain@a-0")
        end.unlink() if change else record.write_text(noted)
    out.write_text("of another revision", encoding="utf-8")
    assert taken() == ""


def test_a_cell_that_runs_elsewhere_ends_the_job_that_it_has(project, slurm):
    machine(project, engine="slurm")
    let(project, "wait")
    with started(project, "pretrain@a-0"):  # and killed
        wait_for((project / ".work/jobs/pretrain@a-0.json").exists)
    machine(project)
    (project / "go").touch()
    assert said(project, "pretrain@a-0", within=60) == "hello from pretrain@a-0\n"
    assert queue() == []


def test_a_job_that_loses_its_place_takes_another_turn(project, slurm):
    """By SIGUSR2, which SLURM sends before the time limit, where a step is saved; preempted; its node lost; held."""
    machine(project, engine="slurm")
    set_constant(project, "PAUSES", "(0.5, 0.5)")
    let(project, "wait")
    began = project / "out/pretrain@a-0"

    def command(*words: str) -> None:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)

    def runs() -> int:
        return began.read_text().count(".") if began.exists() else 0

    with started(project, "pretrain@a-0") as head:
        assert wait_for(lambda: runs() == 1)
        command("scancel", "--signal=USR2", "--batch", queue()[0][0])
        time.sleep(1)
        assert queue()[0][1] == "RUNNING"  # nothing is saved
        epoch = project / ".work/checkpoints/smoke/pretrain-a-0/epoch-00001.pt"
        epoch.parent.mkdir(parents=True)
        epoch.touch()
        command("scancel", "--signal=USR2", "--batch", queue()[0][0])
        assert wait_for(lambda: runs() == 2)
        command("sbatch", "--partition=urgent", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 1")
        assert wait_for(lambda: runs() == 3)
        node = socket.gethostname().partition(".")[0]
        command("scontrol", "update", f"NodeName={node}", "State=down", "Reason=test")
        time.sleep(1)
        subprocess.run(["scontrol", "update", f"NodeName={node}", "State=resume"], **OUTPUT)  # or it is back already
        assert wait_for(lambda: runs() == 4)
        command("scontrol", "requeuehold", "State=SpecialExit", job := queue()[0][0])
        assert wait_for(lambda: "SPECIAL_EXIT" in str(queue()))
        time.sleep(2)
        command("scontrol", "release", job)
        assert wait_for(lambda: runs() == 5)
        (project / "go").touch()
        out = head.communicate()[0]
    assert head.returncode == 0, out
    assert "goes on in another turn of the queue" in out
    assert "PREEMPTED; tried again" in out


def test_a_training_that_is_requeued_ends_with_the_same_bytes(restored, slurm):
    """And whose head is killed: a cell of the smoke preset, with more epochs, first without SLURM."""
    edit(restored, pretrain__epochs=6)
    cell, made = "pretrain@erm-0", restored / "models/erm-0"
    call(restored, "dvc", "repro", "--force", "--single-item", "resolve", cell)
    command = [BIN / "dvc", "repro", "--force", "--single-item", cell]
    whole = {file.name: file.read_bytes() for file in made.iterdir()}
    lock = (restored / "dvc.lock").read_text()
    (restored / "machine.yaml").write_text("engine: slurm\n", encoding="utf-8")
    checkpoints = restored / ".work/checkpoints/smoke/pretrain-erm-0"
    with subprocess.Popen(command, cwd=restored, **OUTPUT) as head:
        wait_for(lambda: list(checkpoints.glob("epoch-*.pt")), 900)
        [[job, _]] = queue()
        subprocess.run(["scancel", "--signal=USR2", "--batch", job], check=True)
        log = restored / f".work/jobs/{cell}.out"
        wait_for(lambda: "steps, from" in log.read_text(), 900)
        subprocess.run(["scontrol", "requeue", job], check=True)
        head.kill()
    out = call(restored, *command)
    assert f"job {job} has it already" in out
    assert "going on after epoch" in out
    assert {file.name: file.read_bytes() for file in made.iterdir()} == whole
    assert (restored / "dvc.lock").read_text() == lock
    assert cell not in outdated(restored)


def test_what_make_verify_submits_ends_with_it(restored, slurm):
    """Its job would go on in a folder that is gone."""
    (restored / "machine.yaml").write_text("engine: slurm\n", encoding="utf-8")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores Ctrl-C
    command = [BIN / "python", "-m", "scripts.verify", "--cells", "manifest-target@digits"]
    with subprocess.Popen(command, cwd=restored, start_new_session=True, **OUTPUT) as run:
        wait_for(queue, 300)
        os.killpg(run.pid, signal.SIGINT)
        printed = run.communicate()[0]
    assert printed.splitlines()[-1] == "Stopped; nothing of it is kept."
    assert wait_for(lambda: not queue())
    assert not list((restored / ".work").glob("verify-*"))
