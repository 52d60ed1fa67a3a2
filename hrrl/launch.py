"""Several processes for one stage, by PyTorch's own launcher."""

import os
import sys


def join(launch) -> None:
    """Restarts this script under torchrun if the params section ``launch`` asks for more than one process.

    Returns in a process that torchrun started, and where one process is all that is asked for.
    """
    if launch.nproc * launch.nnodes == 1 or "WORLD_SIZE" in os.environ:
        return
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={launch.nproc}"]
    if launch.nnodes == 1:
        torchrun += ["--standalone"]
    else:
        torchrun += [f"--nnodes={launch.nnodes}", f"--node-rank={launch.node_rank}"]
        torchrun += [f"--master-addr={launch.master_addr}", f"--master-port={launch.master_port}"]
    sys.stdout.flush()
    os.execv(sys.executable, torchrun + sys.argv)
