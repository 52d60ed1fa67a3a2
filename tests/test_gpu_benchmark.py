"""The measurements for a GPU run through where there is none, so that one that is lent for minutes is not wasted."""

import json
from dataclasses import replace

import torch
from conftest import COMPUTE

from benchmarks import gpu
from hrrl import arithmetic


def test_every_measurement_runs_and_the_file_names_the_device(tmp_path):
    gpu.main(
        ["--size=32", "--batch=2", "--steps=1", "--rounds=1", f"--out={tmp_path}", "--without", "tests", "compiled"]
    )
    [file] = tmp_path.glob("gpu-*.json")
    found = json.loads(file.read_text(encoding="utf-8"))
    assert found["device"] == (torch.cuda.get_device_name() if torch.cuda.is_available() else arithmetic.cpu())
    assert found["images_per_second"].keys() == {"plain", "erm", "el", "cl", "hrrl"}
    assert all(rate > 0 for rate in found["images_per_second"].values())
    error = found["input_gradient_error"]
    assert error["float32"] < 1e-4
    in_use = replace(COMPUTE, precision="bfloat16", device="auto").precision_in_use()  # float32 where it has no such
    assert (error["bfloat16"] > 1e-4) == (in_use == "bfloat16")
