"""Portable arithmetic: the same bytes on another CPU, emulated; what it refuses; and code hashed by what it does."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import PATIENCE, ROOT
from PIL import Image
from sklearn.datasets import load_sample_images

from hrrl import arithmetic

PROGRAM = ROOT / "tests/arithmetic_program.py"
# Without AVX-512, and of the other maker than this one: libraries choose by either. Emulated, it takes minutes.
CPU = "EPYC-Rome" if "Intel" in arithmetic.cpu() else "Haswell"
emulated = pytest.mark.skipif(
    not shutil.which("qemu-x86_64") or bool(arithmetic.cpu_lacks()),
    reason="needs an x86-64 CPU with AVX2 and qemu-x86_64: Debian's package qemu-user, by `make setup-test`",
)


def start(cpu: str | None, folder, **environment) -> subprocess.Popen:
    emulator = ["qemu-x86_64", "-cpu", cpu] if cpu else []
    command = [*emulator, sys.executable, str(PROGRAM), str(folder)]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A photograph as JPEG and as PNG."""
    folder = tmp_path_factory.mktemp("files")
    photograph = Image.fromarray(load_sample_images().images[0][:200, :300])
    photograph.save(folder / "photograph.jpg", quality=90)
    photograph.save(folder / "photograph.png")
    return folder


def hashes(process) -> dict:
    """What the program says last, after where it computes."""
    return json.loads(process.communicate(timeout=PATIENCE)[0].splitlines()[-1])


@emulated
def test_every_computation_has_the_same_bytes_on_another_cpu(files):
    started = [start(cpu, files) for cpu in (None, CPU)]
    here, there = (hashes(process) for process in started)
    assert here == there
    assert len(set(here.values())) == len(here)  # each is of its own


def test_the_surroundings_change_nothing(files):
    odd = {
        **{"OMP_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Nehalem", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
        **{"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu", "LC_ALL": "C"},
    }
    plain, other = (hashes(start(None, files, **env)) for env in ({}, odd))
    assert plain == other


def test_portable_arithmetic_is_refused_once_the_libraries_are_loaded():
    program = "import numpy; from hrrl import arithmetic; arithmetic.use_portable()"
    env = {name: value for name, value in os.environ.items() if name not in arithmetic.PORTABLE}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True)
    if not arithmetic.cpu_lacks():
        assert done.returncode
        assert "numpy is loaded and has chosen its arithmetic by this CPU" in done.stderr.splitlines()[-1]
