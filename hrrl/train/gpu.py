"""Which GPU this machine has, and what keeps PyTorch from one that is there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import torch

VERSION = Path("/proc/driver/nvidia/version")
DEVICES = Path("/dev")
INDEX = "https://download.pytorch.org/whl"
BUILDS = {580: "cu130", 570: "cu128", 525: "cu126"}  # driver from which on PyTorch's build runs


def unusable() -> str | None:
    """Why PyTorch cannot use an NVIDIA GPU that is there, and what to install; None where there is none, or it can.

    CUDA_VISIBLE_DEVICES without a number hides all GPUs: none is there then.
    """
    hidden = not re.search(r"\w", os.environ.get("CUDA_VISIBLE_DEVICES", "0").replace("-1", ""))
    if torch.cuda.is_available() or hidden or (driver := _driver()) is None:
        return None
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    build = next((build for oldest, build in BUILDS.items() if int(driver.split(".")[0]) >= oldest), None)
    install = f"pip install torch torchvision --index-url {INDEX}/{build}" if build else "install a newer driver"
    return (
        f"this machine has an NVIDIA GPU with driver {driver}, which torch {torch.__version__} ({built}) cannot use; "
        f"{install}, or set compute.device to cpu"
    )


def _driver() -> str | None:
    """The version of the driver, "0" where it cannot be read; None where there is no GPU."""
    output = ""
    if smi := shutil.which("nvidia-smi"):
        query = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
        process = subprocess.run(query, capture_output=True, encoding="utf-8", errors="replace")
        output = process.stdout if process.returncode == 0 else ""
    if not output and not list(DEVICES.glob("nvidia[0-9]*")):
        return None
    output += VERSION.read_text(encoding="utf-8") if VERSION.exists() else ""
    match = re.search(r"\b\d{3,}\.\d+(\.\d+)?", output)
    return match[0] if match else "0"
