"""Learning-rate schedules that spaCy does not have."""

import math
from collections.abc import Iterator


def cosine_with_warmup(initial_rate: float, warmup_steps: int, total_steps: int, final_share: float = 0.0) -> Iterator[float]:
    """`rivega.cosine_with_warmup.v1`: linear up, then half a cosine down.

    initial_rate (float): The rate at the end of the warm-up.
    warmup_steps (int), total_steps (int): In optimiser steps.
    final_share (float): The share of `initial_rate` that is left at `total_steps` and after.
    YIELDS (float): The rate of each step.
    """
    step = 0
    while True:
        if step < warmup_steps:
            factor = (step + 1) / warmup_steps
        else:
            share = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
            factor = final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * share))
        yield initial_rate * factor
        step += 1
