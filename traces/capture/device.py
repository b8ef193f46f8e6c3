"""The device that a trainer computes on, and how a prepared minibatch gets there."""

from __future__ import annotations

import os
from typing import Any

import torch

CPU = torch.device("cpu")


def training_device() -> torch.device:
    """This trainer's GPU where the machine has any, shared out by local rank; else the CPU."""
    if not torch.cuda.is_available():
        return CPU
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())


def to_device(
    features: dict[str, torch.Tensor], labels: torch.Tensor | None, blocks: list[Any], device: torch.device
) -> tuple[dict[str, torch.Tensor], torch.Tensor | None, list[Any]]:
    """Copy a minibatch to a GPU from pinned memory, on a stream of its own, and wait for that stream alone.

    Called by the thread that prepares ahead, so the GPU goes on computing meanwhile.
    """
    computing, copying = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    with torch.cuda.stream(copying):
        features = {name: rows.pin_memory().to(device, non_blocking=True) for name, rows in features.items()}
        if labels is not None:
            labels = labels.pin_memory().to(device, non_blocking=True)
        blocks = [block.to(device) for block in blocks]
    copying.synchronize()
    for one in [*features.values(), *([] if labels is None else [labels]), *blocks]:
        one.record_stream(computing)  # or its memory could be reused while the copy is still running
    return features, labels, blocks
