"""Cells as jobs of SLURM, by its own commands: python -m stages.slurm submits `make repro` itself as one.

A cell's job is known by its name, and by a hash of the cell's inputs in its comment and in .work/jobs/<cell>.json, so
that whoever asks for the cell again finds it, and two never write the same outputs. Its end is in
.work/jobs/<cell>.end, for SLURM forgets after minutes where it keeps no accounts. Submitit would not do: it learns of
ends by `sacct` alone.
"""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from functools import reduce
from pathlib import Path

from stages.paths import WORK
from stages.place import settings

from ruamel.yaml import YAML

from hrrl.common.files import write_json
from hrrl.errors import UserError
from hrrl.settings import machine, params_file

ROOT = Path(__file__).resolve().parent.parent
JOBS = WORK / "jobs"
CLONE = re.split(r"/\.(?:dvc|work)/", str(ROOT), maxsplit=1)[0]  # of which this may be a copy by DVC or `make verify`
NAMED = [hashlib.sha256(folder.encode()).hexdigest()[:8] for folder in dict.fromkeys([CLONE, str(ROOT)])]
OURS = "-".join(["hrrl", *NAMED, ""])  # begins the names of this clone's jobs
HEAD = "head"  # the job that runs `make repro`
LEAD = 120  # seconds before its time limit at which SLURM signals a job
PAUSES = (0.5, 10.0)  # seconds between two queries: at first, at most
FULL_QUEUE = 30.0  # seconds until a job is submitted again
LATE = 60.0  # seconds after which a shared folder shows everywhere what was written to it
TRIES = 5  # of a job whose node fails
QUEUED = re.compile(
    "temporarily unable|Socket timed out|Unable to contact|authentication|policy|Unexpected message|Zero Bytes", re.I
)
OTHERS = re.compile("SLURM_(?!CONF$)|SQUEUE_|SBATCH_(ARRAY_INX|ERROR|WAIT)$")
TEMPLATE = re.compile(r"\$\{([^}]+)\}")  # of dvc.yaml
# Reasons for waiting that never pass.
NEVER = re.compile("PartitionConfig|Bad|Invalid|NotAllowed|Part.*Limit|Per(Job|Node)|QOSMin")
AGAIN = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL")
ENDS = {
    "CANCELLED": "was cancelled (scancel)",
    "TIMEOUT": "came to its time limit with nothing saved since it began; machine.yaml: time",
    "DEADLINE": "came to its deadline",
    "OUT_OF_MEMORY": "took more memory than it had; machine.yaml: memory",
}
OVER = ("COMPLETED", "FAILED", *AGAIN, *ENDS)
Definition = tuple[str, list[Path], list[Path]]  # of a cell: its command, and the paths of its deps and outs
# Near its time limit, or preempted, a job ends with a checkpoint, and is requeued if it made progress; also where it
# does not end in time, as in an evaluation.
SCRIPT = """#!/bin/bash
cd {root} || exit 1
export {job}=$SLURM_JOB_ID HRRL_FIRST_NODE=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
rm -f {end}
touch {start}
again() {{
    if {progress}; then echo "goes on in another turn of the queue"; scontrol requeue $SLURM_JOB_ID; sleep 60; fi
}}
trap 'told=1; kill -{stop} $job; (sleep {patience}; again) &' USR2
export SRUN_CPUS_PER_TASK=${{SLURM_CPUS_PER_TASK:-1}}
(trap '' USR2; {check} && exec {command}) &
job=$!
while wait $job; status=$?; kill -0 $job 2>/dev/null; do :; done
[ $status != 0 ] || {check} || status=1
if [ "$told" ] && [ $status != 0 ]; then again; fi
echo "$SLURM_JOB_ID $status $SECONDS" > {end}.new && mv {end}.new {end}
exit $status
"""


def run(cell: str, config: machine.Machine, nodes: int, gpus: int, begun: Callable[[], None]) -> float:
    """Runs a cell as a job and shows what it prints; returns the seconds that it took.

    Raises:
        UserError: SLURM refuses the job, or it failed; one line.
    """
    inputs, log = key(_definition(cell)), JOBS / f"{cell}.out"
    job = _queued_job(cell, inputs)
    command = [sys.executable, *sys.orig_argv[1:]]
    if nodes > 1:
        command = ["srun", "--kill-on-bad-exit=1", *command]
    options = [f"--nodes={nodes}", "--ntasks-per-node=1", *([f"--gres=gpu:{gpus}"] if gpus else [])]
    failures = 0
    while failures < TRIES:
        if job is None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_bytes(b"")
            check = shlex.join([sys.executable, "-m", "stages.slurm", "check", cell, inputs])
            job = _submit(cell, command, config, [*options, f"--comment={inputs}"], log, check)
            write_json(JOBS / f"{cell}.json", {"id": job, "inputs": inputs})
        state = _follow(job, log, begun)
        if state.get("JobState") not in AGAIN:
            return _result(cell, job, state)
        print(f"job {job}: {state['JobState']}; tried again", flush=True)
        failures += state["JobState"] != "PREEMPTED"  # preemption is no failure
        job = None
    raise UserError(f"{cell}: its nodes failed {TRIES} times")


def key(definition: Definition) -> str:
    """A hash of a cell's command and all that it reads."""
    command, deps, _ = definition
    digest = hashlib.sha256(command.encode())
    for path in deps:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                with open(file, "rb") as content:
                    digest.update(f"{file}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def check(cell: str, inputs: str) -> None:
    """Runs in a job before its cell and after: the job may have waited for long, and needs nobody who waits for it.

    Raises:
        UserError: what the cell reads is not what it was when the job was submitted.
    """
    deadline = time.monotonic() + LATE
    while key(_definition(cell)) != inputs:
        if time.monotonic() > deadline:
            raise UserError(f"{cell}: what it reads has changed since its job was submitted")
        time.sleep(PAUSES[0])


def finished() -> list[str]:
    """Cells whose jobs succeeded while nobody waited, with today's inputs: their outputs are to be recorded."""
    cells = []
    for record in JOBS.glob("*.json"):
        cell, job = record.stem, json.loads(record.read_text(encoding="utf-8"))
        if end := _end(cell, job["id"]):
            record.unlink()
            if end[0] == 0 and _as_left(cell, definition := _definition(cell)) and key(definition) == job["inputs"]:
                cells.append(cell)
    return cells


def _as_left(cell: str, definition: Definition) -> bool:
    """Whether a cell's outputs are those of its job that ended: `dvc checkout`, say, puts others in their place."""
    paths = [path for out in definition[2] for path in (out, *out.rglob("*"))]
    end = (JOBS / f"{cell}.end").stat().st_ctime
    return all(os.path.lexists(path) and path.lstat().st_ctime <= end for path in paths)


def _definition(cell: str) -> Definition:
    """What dvc.yaml has of a cell, with the values of params.yaml."""
    stage, _, values = cell.partition("@")
    definition = YAML(typ="safe").load(Path("dvc.yaml"))["stages"][stage]
    item = dict(zip(definition.get("matrix", {}), values.split("-"), strict=False))
    variables = params_file.read("params.yaml") | {"item": item}

    def value(match: re.Match) -> str:
        parts = [int(part) if part.isdecimal() else part for part in re.findall(r"\w+", match[1])]
        return str(reduce(lambda section, part: section[part], parts, variables))

    def paths(entries: list) -> list[Path]:
        return [Path(TEMPLATE.sub(value, str(*entry) if isinstance(entry, dict) else entry)) for entry in entries]

    return definition["cmd"], paths(definition["deps"]), paths(definition["outs"])


def _submit(name: str, command: list[str], config: machine.Machine, options: list[str], log: Path, check=":") -> str:
    """The id of a new job, once the queue takes it."""
    start, end = JOBS / f"{name}.start", JOBS / f"{name}.end"
    run = name.partition("@")[2]
    progress = f"find .work/checkpoints/ '(' -path '*-{run}/epoch-*.pt' -o -path '*-{run}-*/epoch-*.pt' ')'"
    progress = f"{progress} -newer {shlex.quote(str(start))} 2>/dev/null | grep -q ."
    places = {"root": ROOT, "end": end, "start": start}
    script = SCRIPT.format(
        job=machine.JOB if name != HEAD else "HRRL_HEAD",
        progress=progress if name != HEAD else "true",
        stop="USR2" if name != HEAD else "TERM",  # SLURM would kill DVC while it writes
        patience=LEAD * 3 // 4,
        check=check,
        command=shlex.join(command),
        **{place: shlex.quote(str(path)) for place, path in places.items()},
    )
    flags = {"partition": config.partition, "time": config.time, "mem": config.memory, "cpus-per-task": config.cpus}
    flags |= {"account": config.account, "constraint": config.constraint, "job-name": OURS + name}
    flags |= {"output": str(log.absolute()).replace("%", "%%")}  # which sbatch takes for places of its own
    flags |= {"dependency": "singleton", "signal": f"B:USR2@{LEAD}", "open-mode": "append", "export": "ALL"}
    words = [f"--{flag}={value}" for flag, value in flags.items() if value is not None]
    announced = False
    while (done := _ask("sbatch", "--parsable", "--requeue", *words, *options, input=script)).returncode:
        reason = " ".join(done.stderr.replace("sbatch: error: ", "").split())
        if not QUEUED.search(reason) or ("policy" in reason and not _ask("squeue", "-h", "--me").stdout):
            raise UserError(f"{name}: SLURM refuses the job ({reason}); see machine.yaml")
        if not announced:
            print(f"waits until SLURM takes the job: {reason}", flush=True)
        announced = True
        time.sleep(FULL_QUEUE)
        if queued := _queue(name):  # SLURM took it, and the answer got lost
            return queued[-1][0]
    return done.stdout.split()[-1].partition(";")[0]  # some clusters' sbatch prints a banner first


def leave(cell: str) -> None:
    """Cancels the job of a cell that now runs elsewhere: two must never write the same outputs."""
    record = JOBS / f"{cell}.json"
    if record.exists():
        _queued_job(cell, "")
        record.unlink()


def _queued_job(name: str, inputs: str) -> str | None:
    """The cell's job that runs or is queued with these inputs; without one, those with other inputs are cancelled."""
    while queued := _queue(name):
        if jobs := [job for job, comment in queued if comment == inputs]:
            print(f"job {jobs[-1]} has it already", flush=True)
            return jobs[-1]
        _ask("scancel", *(job for job, _ in queued))
        time.sleep(PAUSES[0])
    return None


def _queue(name: str) -> list[tuple[str, str]]:
    """(id, comment) of the jobs with this name that are not over."""
    while (done := _ask("squeue", "--noheader", "--me", f"--name={OURS}{name}", "--format=%i %k")).returncode:
        print(f"waits for SLURM: {' '.join(done.stderr.split())}", flush=True)
        time.sleep(PAUSES[1])
    return [tuple(line.split(maxsplit=1)) for line in done.stdout.splitlines()]


def _follow(job: str, log: Path, begun: Callable[[], None]) -> dict[str, str]:
    """Waits for a job, and shows what it prints; returns what SLURM says of its end, {} if it knows it no more."""
    pause, last_reason, offset, running = PAUSES[0], "", 0, False
    while True:
        state = _query_job(job)
        if state.get("JobState") in ("RUNNING", "COMPLETING") and not running:
            running = True
            begun()
        reason = state.get("Reason", "None")
        if state.get("JobState") in ("PENDING", "SPECIAL_EXIT") and reason not in ("None", last_reason):
            if NEVER.search(reason):
                _ask("scancel", job)
                raise UserError(f"job {job} waits: {reason}: SLURM has no such place for it; see machine.yaml")
            print(f"job {job} waits: {reason}", flush=True)
            last_reason = reason
        with open(log, "rb") as file:
            file.seek(offset)
            offset += sys.stdout.buffer.write(file.read())
            sys.stdout.flush()
        if not state or state["JobState"] in OVER:
            return state
        time.sleep(pause)
        pause = min(pause * 1.1, PAUSES[1])


def _query_job(job: str) -> dict[str, str]:
    """What SLURM says of a job; JobState "?" while it does not answer, {} if it knows no such job."""
    done = _ask("scontrol", "show", "job", "--oneliner", job)
    if done.returncode:
        return {} if "Invalid job id" in done.stderr else {"JobState": "?"}
    return dict(part.split("=", 1) for part in done.stdout.split() if "=" in part)


def _result(cell: str, job: str, state: dict[str, str]) -> float:
    """The seconds that a job took, or an error that says how it ended."""
    job_state, end = state.get("JobState", ""), None
    deadline = time.monotonic() + PAUSES[1]
    while not end and job_state not in ENDS and time.monotonic() < deadline:
        end = _end(cell, job)  # a shared folder may show it late
        time.sleep(0.1)
    status, seconds = end or (None, 0)
    if status == 0:
        (JOBS / f"{cell}.json").unlink(missing_ok=True)
        return seconds
    where = state.get("NodeList", "its node")
    if job_state in ENDS:
        raise UserError(f"{cell}: job {job} {ENDS[job_state]}")
    if end:
        raise UserError(f"{cell}: job {job} failed on {where} with status {status}; what it said stands above")
    raise UserError(f"{cell}: job {job} died on {where} without a word ({job_state or 'SLURM knows it no more'})")


def _end(cell: str, job: str) -> tuple[int, int] | None:
    """(exit status, seconds) of a cell's job, once it came to its end."""
    file = JOBS / f"{cell}.end"
    if not file.exists():
        return None
    recorded, status, seconds = file.read_text(encoding="utf-8").split()
    return (int(status), int(seconds)) if recorded == job else None


def _ask(*command: str, **options) -> subprocess.CompletedProcess:
    """Runs a command of SLURM without the variables of the user and the head's own job that would change its answer."""
    excluded = ("HRRL_LOGS", "HRRL_RUN", "HRRL_BEGAN")  # of processes here
    env = {name: value for name, value in os.environ.items() if name not in excluded and not OTHERS.match(name)}
    try:
        return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", env=env, **options)
    except FileNotFoundError:
        raise UserError(f"machine.yaml: engine: slurm, and this machine has no {command[0]}") from None


def submit() -> None:
    """Submits `make repro` as a job, unless it is one already."""
    if queued := _queue(HEAD):
        job = queued[0][0]
    else:
        log = JOBS / f"{HEAD}.out"
        log.parent.mkdir(parents=True, exist_ok=True)
        job = _submit(HEAD, [sys.executable, "-m", "scripts.repro"], settings(HEAD), [], log)
    print(f"job {job} runs `make repro`; what it says is in {JOBS / HEAD}.out. `make cancel` ends it and its cells")


def cancel() -> None:
    """Cancels all jobs of this clone."""
    if (done := _ask("squeue", "--noheader", "--me", "--format=%i %j")).returncode:
        raise UserError(
            f"no job is cancelled, for SLURM does not say which there are ({' '.join(done.stderr.split())})"
        )
    lines = (line.partition(" ") for line in done.stdout.splitlines())
    if jobs := [job for job, _, name in lines if name.startswith(OURS)]:
        _ask("scancel", *jobs)
    print(f"{len(jobs)} jobs cancelled")


if __name__ == "__main__":
    try:
        {"submit": submit, "cancel": cancel, "check": check}[sys.argv[1]](*sys.argv[2:])
    except (UserError, OSError) as error:
        sys.exit(str(error))
