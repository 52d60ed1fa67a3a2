"""machine.yaml: what changes no result."""

import pytest
from conftest import ROOT

from hrrl.errors import UserError
from hrrl.settings import machine


def test_the_example_has_the_values_without_a_file(tmp_path):
    assert machine.load(ROOT / "machine.example.yaml") == machine.load(tmp_path / "none.yaml") == machine.Machine()


def test_what_is_given_counts(tmp_path):
    file = tmp_path / "machine.yaml"
    file.write_text("jobs: 4\nmaster_addr: node-1.local\n", encoding="utf-8")
    assert machine.load(file) == machine.Machine(jobs=4, master_addr="node-1.local")


def test_a_stage_has_values_of_its_own(tmp_path):
    file = tmp_path / "machine.yaml"
    file.write_text("time: 24:00:00\nstages: {svm: {time: 30, gpus: [1]}}\n", encoding="utf-8")
    assert machine.load(file, "svm").time == 30
    assert machine.load(file, "svm").gpus == [1]
    assert machine.load(file, "pretrain").time == "24:00:00"


def test_a_copy_below_the_clone_takes_the_clones(tmp_path, monkeypatch):
    """`dvc exp run --queue` copies what git has; a machine.yaml of somebody else, further up, is none."""
    copy = tmp_path / "hrrl/.dvc/tmp/exps/one"
    copy.mkdir(parents=True)
    (tmp_path / "machine.yaml").write_text("of: another program\n", encoding="utf-8")
    for folder in (copy, tmp_path / "hrrl"):
        (folder / "machine.example.yaml").touch()
    monkeypatch.chdir(copy)
    assert machine.load() == machine.Machine()
    (tmp_path / "hrrl/machine.yaml").write_text("engine: slurm\n", encoding="utf-8")
    assert machine.load().engine == "slurm"
    (copy / "machine.yaml").write_text("jobs: 4\n", encoding="utf-8")
    assert machine.load() == machine.Machine(jobs=4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("job: 4\n", "job: unknown key; known: engine, jobs, workers, gpus, partition"),
        ("jobs: 0\n", "jobs: takes a whole number from 1 to 1024, got 0"),
        ("workers: true\n", "workers: takes a whole number from 0 to 1024, got True"),
        ("workers: 1.5\n", "workers: takes a whole number"),
        ("master_port: 70000\n", "master_port: takes a whole number from 1 to 65535"),
        ('master_addr: "a b; rm"\n', "master_addr: takes a host's name or address"),
        ("# jobs: 4\n", "holds no keys; copy machine.example.yaml to it"),
        ("engine: pbs\n", "engine: takes local or slurm, got 'pbs'"),
        ("gpus: [0, 0]\n", "gpus: takes a number from 1, or a list of ids, got [0, 0]"),
        ("gpus: 0\n", "gpus: takes a number from 1"),  # which would move networks to the CPU
        ("partition: --all\n", "partition: takes a partition's name"),
        ("time: a day\n", "time: takes minutes, hours:minutes:seconds"),
        ("memory: 64GB\n", "memory: takes megabytes, or a number with K, M, G or T, got '64GB'"),
        ("stages: {svm: {node_rank: 1}}\n", "stages.svm.node_rank: unknown key"),
        ("stages: {svm: 4}\n", "stages: takes a mapping for each stage"),
        ("master_addr: 5\n", "master_addr: takes a host's name or address, got 5"),
    ],
)
def test_a_mistake_is_a_line(tmp_path, text, message):
    file = tmp_path / "machine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        machine.load(file)
    assert message in str(raised.value)
    assert "machine.yaml" in str(raised.value)
