"""What a GPU makes of it, in one run of at most eight minutes: benchmarks/gpu-<its name>.json.

    python -m benchmarks.gpu                    on an idle GPU: the suite's tests for one, then the measurements
    python -m benchmarks.gpu --size 32 --batch 4 --steps 1 --rounds 1 --without compiled      a trial, on any machine

images/s are of ResNet-18 with 1,000 classes, in bfloat16 and channels_last, trained on batches of uint8 images in the
host's memory: by the pipeline's loop with each variant, compiled and not, and by a plain loop. Rounds are interleaved;
a ratio is taken within each. Beside them: what waited for the GPU in those steps (0 is right), and how far the input
gradient is from float64's.
"""

import argparse
import copy
import re
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from benchmarks import ROOT
from benchmarks.axes import CONCEPTS, VARIANTS, compute, method, plain_net, stepper
from hrrl.common.files import write_json
from hrrl.objective import input_gradient
from hrrl.train import models, runtime

CLASSES = 1000
PATIENCE = 180  # seconds for the suite's tests
DISTINCT = 4  # batches in the host's memory


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("size", 224), ("batch", 256), ("steps", 30), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--without", nargs="*", default=[], choices=["tests", "compiled"], help="what to leave out")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks", help="folder of the file")
    args = parser.parse_args(arguments)
    settings = compute(device="auto")
    found = {"device": runtime.device_name(settings), "torch": torch.__version__, "cuda": torch.version.cuda}
    found |= {name: getattr(args, name) for name in ("size", "batch", "steps", "rounds")}
    if "tests" not in args.without:
        found["tests"] = tests()
    found |= speed(args, settings)
    found["input_gradient_error"] = gradient_errors(args, settings)
    file = args.out / f"gpu-{re.sub('[^a-z0-9]+', '-', found['device'].lower()).strip('-')}.json"
    write_json(file, found)
    print(file.read_text(encoding="utf-8"))


def tests() -> str:
    """The last line of pytest on the tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "tests/test_gpu.py", "--durations=0", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=PATIENCE)
    print(done.stdout[-3000:])
    return done.stdout.strip().splitlines()[-1]


# ---------------------------------------------------------------------------------------------- images per second


def speed(args, settings) -> dict:
    """images/s of each loop, their ratios to erm's, and what waited for the GPU in a loop."""
    x = torch.randint(256, (DISTINCT, args.batch, 3, args.size, args.size), dtype=torch.uint8)
    y = torch.randint(CLASSES, (DISTINCT, args.batch))
    batches = [(x[i % DISTINCT], y[i % DISTINCT], args.batch) for i in range(args.steps)]
    with runtime.start(settings) as here:
        loops = {"plain": plain(here)} | {name: ours(here, spec, False) for name, spec in VARIANTS.items()}
        if "compiled" not in args.without:
            loops |= {f"{name}_compiled": ours(here, VARIANTS[name], True) for name in ("erm", "el")}
        for loop in loops.values():
            loop(batches[:3])
        waits = {name: waited(here, loop, batches) for name, loop in loops.items() if name != "plain"}
        rounds = [{name: rate(here, loop, batches) for name, loop in loops.items()} for _ in range(args.rounds)]
    rates = {name: round(median(found[name] for found in rounds), 1) for name in loops}
    ratios = {
        f"{name}_over_erm": round(median(found["erm"] / found[name] for found in rounds), 3)
        for name in loops
        if name != "erm"
    }
    return {"images_per_second": rates, "step_time": ratios, "waits": waits}


def ours(here: runtime.Runtime, spec: dict, compiled: bool):
    """The pipeline's loop over batches in the host's memory."""
    here = replace(here, compile=compiled)
    run = stepper(("resnet18", {}), torch.arange(CLASSES) % CONCEPTS, method(spec), here)
    net = here.parallel(run.model)

    def loop(batches):
        for batch in here.feed(batches):
            run.step(net, *batch)

    return loop


def plain(here: runtime.Runtime):
    """The same, as anyone would write it for a GPU."""
    model = plain_net("resnet18", CLASSES, {}).to(device=here.device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)

    def loop(batches):
        for x, y, _ in batches:
            x = x.to(here.device, non_blocking=True).to(memory_format=torch.channels_last).float().div_(255)
            with torch.autocast(here.device.type, torch.bfloat16):
                loss = F.cross_entropy(model(x), y.to(here.device, non_blocking=True))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return loop


def rate(here: runtime.Runtime, loop, batches) -> float:
    settle(here)
    start = time.perf_counter()
    loop(batches)
    settle(here)
    return sum(size for *_, size in batches) / (time.perf_counter() - start)


def settle(here: runtime.Runtime) -> None:
    if here.device.type == "cuda":
        torch.cuda.synchronize(here.device)


def waited(here: runtime.Runtime, loop, batches) -> int | None:
    """How often the loop waited for the GPU; None without one."""
    if here.device.type != "cuda":
        return None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        loop(batches)
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in told)


# ---------------------------------------------------------------------------------------------- the input gradient


def gradient_errors(args, settings) -> dict[str, float]:
    """The largest distance of an image's gradient from float64's on the device, as a share of its length."""
    kinds = {"float32": {}, "float32_unfolded": {"fast": False}, "tf32": {"tf32": True}, "bfloat16": {}}
    errors = {}
    for name, changes in kinds.items():
        precision = name if name == "bfloat16" else "float32"
        with runtime.start(settings.model_copy(update={"precision": precision} | changes)) as here:
            torch.manual_seed(0)
            model = here.to_device(models.build("resnet18", CLASSES, {})).eval()
            x = torch.rand(min(args.batch, 16), 3, args.size, args.size).to(here.device)
            y = torch.arange(len(x), device=here.device)
            exact = input_gradient(copy.deepcopy(model).double(), x.double(), y)
            with here.autocast():
                found = input_gradient(model, x, y).double()
        lengths = exact.flatten(1).norm(dim=1)
        errors[name] = float(((found - exact).flatten(1).norm(dim=1) / lengths).max())
    return errors


if __name__ == "__main__":
    main()
