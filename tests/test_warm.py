"""Commands that start in processes with the libraries already imported."""

import os
from concurrent.futures import ThreadPoolExecutor

from conftest import ROOT

from scripts import warm


def test_threads_learn_the_exit_code_of_each_its_own_command(tmp_path):
    """Many at a time: what one thread starts has taken the exit code that another one was waiting for."""
    warm.start(None)

    def run(number: int) -> int:
        name = "this" if number % 4 else "no_such_module"
        environment = os.environ | {"DVC_STAGE": f"stage@{number}"}
        return warm.Command(f"exec python -m {name}", environment, str(ROOT), tmp_path / f"{number}.log").wait()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, range(160))) == [int(number % 4 == 0) for number in range(160)]
    assert "The Zen of Python" in (tmp_path / "1.log").read_text()
    assert "No module named no_such_module" in (tmp_path / "0.log").read_text()
