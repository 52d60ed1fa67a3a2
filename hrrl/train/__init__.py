"""Training: the loop of Algorithm 1, networks, where and how a run computes, checkpoints, measurements."""
