"""One trainer's model, loss and optimizer, and its steps, with and without the clock read between their parts.

DistributedDataParallel's `backward()` hides waiting for the slowest trainer and the all-reduce. A communication hook
tells when this trainer's own gradients were ready; `traces.capture.assemble` then compares the trainers' clocks.
"""

# no `from __future__ import annotations`: DistributedDataParallel checks the hook's annotations as objects
from time import perf_counter
from typing import Any

import torch
import torch.distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from traces.capture.block_edges import BlockEdges
from traces.capture.device import CPU, training_device
from traces.capture.minibatches import Prepared
from traces.capture.model import CLASSES
from traces.capture.recorder import Step
from traces.cluster.process import Connection

FEATURE, LABEL = "feat", "label"


class Training:
    """One trainer's model, loss and optimizer. Labels are classes (one dimension) or indicators of every class
    (two)."""

    def __init__(self, connection: Connection, arguments: dict[str, Any]) -> None:
        graph = connection.graph
        self.features, self.labels = graph.ndata[FEATURE], graph.ndata[LABEL]
        self.multi_label = len(self.labels.shape) == 2
        self.device = training_device()
        make_model = CLASSES[arguments["model"]]
        width, layers = self.features.shape[1], len(arguments["fanout"])
        model = make_model(width, arguments["hidden"], arguments["classes"], layers).to(self.device)
        self.model = DistributedDataParallel(model)
        self.gradients_ready_s = 0.0
        self.model.register_comm_hook(None, self._hook)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.003)
        self._criterion = torch.nn.BCEWithLogitsLoss() if self.multi_label else torch.nn.CrossEntropyLoss()

    @property
    def gradient_bytes(self) -> int:
        """Bytes that an all-reduce sums up."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())

    def on_device(self, blocks: list[Any]) -> list[Any]:
        """DGL's blocks as the model takes them."""
        return blocks if self.device == CPU else [BlockEdges.of(block).to(self.device) for block in blocks]

    def loss(self, blocks: list[Any], features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The mean loss of a minibatch."""
        scores = self.model(blocks, features.float())
        return self._criterion(scores, labels.float() if self.multi_label else labels)

    def _hook(self, state: None, bucket: torch.distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
        self.gradients_ready_s = self._clock()  # of the last bucket, after the last call
        world = torch.distributed.group.WORLD
        assert world is not None  # `connect` made it
        return allreduce_hook(world, bucket)

    def _clock(self) -> float:
        """`perf_counter` once the GPU has finished its queue; otherwise its work would be counted in a later part."""
        if self.device != CPU:
            torch.cuda.synchronize(self.device)
        return perf_counter()

    def plain_step(self, input_nodes: torch.Tensor, seeds: torch.Tensor, blocks: list[Any]) -> None:
        """A minibatch as DistDGL users write it, without any recording."""
        features, labels = self.features[input_nodes].to(self.device), self.labels[seeds].to(self.device)
        loss = self.loss(self.on_device(blocks), features, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def recorded_step(self, start: float, minibatch: Prepared) -> Step:
        """The same with a prepared minibatch, the clock read between its parts. The trainer turned to it at `start`."""
        prepared = perf_counter()
        assert minibatch.labels is not None  # the worker's minibatches have them
        loss = self.loss(minibatch.blocks, minibatch.features[FEATURE], minibatch.labels)
        self.optimizer.zero_grad()
        forward = self._clock()
        loss.backward()
        backward = self._clock()
        self.optimizer.step()
        end = self._clock()
        ready = self.gradients_ready_s
        counts = {
            "seeds": len(minibatch.seeds),
            "sampled_edges": sum(block.num_edges() for block in minibatch.blocks),
            "hit_rows": minibatch.fetch.hit_rows,
            "replacement_rows": minibatch.fetch.replacement_rows,
        }
        times = {
            "start_s": start,
            "prepare_start_s": minibatch.prepare_start_s,
            "stall_s": prepared - start,
            "sample_s": minibatch.sample_s,
            "fetch_s": minibatch.fetch_s,
            "local_gather_s": minibatch.fetch.local_gather_s,
            "label_s": minibatch.label_s,
            "copy_s": minibatch.copy_s,
            "forward_s": forward - prepared,
            "backward_s": ready - forward,
            "allreduce_s": backward - ready,  # includes waiting, which `assemble` separates by the trainers' clocks
            "update_s": end - backward,
            "step_s": end - start,
        }
        return Step(minibatch.input_nodes, counts, times, minibatch.fetch.owner_done_s, ready, float(loss.detach()))
