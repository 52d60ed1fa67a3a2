"""Portable arithmetic: the same bytes on another CPU, emulated; what it refuses; and code hashed by what it does."""

import json
import os
import shutil
import subprocess
import sys
import warnings

from conftest import PATIENCE, ROOT, run
from PIL import Image
from sklearn.datasets import load_sample_images

from hrrl import arithmetic

PROGRAM = ROOT / "tests/arithmetic_program.py"
# Without AVX-512, and of the other maker than this one: libraries choose by either. Emulated, it takes minutes.
OTHER = "EPYC-Rome" if "Intel" in arithmetic.cpu() else "Haswell"
ODD = {
    **{"OMP_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Nehalem", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    **{"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu", "LC_ALL": "C"},
}


def start(folder, *emulator: str, **environment) -> subprocess.Popen:
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    command = [*emulator, sys.executable, str(PROGRAM), str(folder)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def hashes(process) -> dict:
    """What the program says last, after where it computes."""
    return json.loads(process.communicate(timeout=PATIENCE)[0].splitlines()[-1])


def test_every_computation_has_the_same_bytes_on_another_cpu_and_in_other_surroundings(tmp_path):
    """Where nothing can be emulated, in other surroundings alone."""
    photograph = Image.fromarray(load_sample_images().images[0][:200, :300])
    photograph.save(tmp_path / "photograph.jpg", quality=90)
    photograph.save(tmp_path / "photograph.png")
    emulates = shutil.which("qemu-x86_64") and not arithmetic.cpu_lacks()
    if not emulates:
        warnings.warn("no other CPU: needs qemu-user (make setup-test), and AVX2", stacklevel=1)
    plain, other = start(tmp_path), start(tmp_path, *(["qemu-x86_64", "-cpu", OTHER] if emulates else []), **ODD)
    here, there = hashes(plain), hashes(other)
    assert here == there
    assert len(set(here.values())) == len(here)  # each is of its own


def test_portable_arithmetic_is_refused_once_the_libraries_are_loaded():
    program = "import numpy; from hrrl import arithmetic; arithmetic.use_portable()"
    done = run(sys.executable, "-c", program, without=arithmetic.PORTABLE)
    if not arithmetic.cpu_lacks():
        assert done.returncode
        assert "numpy is loaded and has chosen its arithmetic by this CPU" in done.stderr.splitlines()[-1]
