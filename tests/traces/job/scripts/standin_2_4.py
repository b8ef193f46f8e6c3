"""dgl 1.1.3 with the signatures of dgl 2.4 and master, as far as a training script sees them.

Loaders live in `dgl.distributed`, what is left in `dgl.dataloading` only makes them; collators are classes of their own
there, and take `gb_padding`; a graph knows whether it samples with GraphBolt, and so does `initialize`.
"""

import functools

import dgl
from dgl import distributed, utils


class NodeCollator:
    def __init__(self, g, nids, graph_sampler, gb_padding=1):
        assert not g._use_graphbolt
        self.g, self.graph_sampler, self.gb_padding = g, graph_sampler, gb_padding
        self.nids = utils.prepare_tensor_or_dict(g, nids, "nids")

    @property
    def dataset(self):
        return utils.maybe_flatten_dict(self.nids)

    def collate(self, items):
        if isinstance(items[0], tuple):
            items = utils.group_as_dict(items)
        return self.graph_sampler.sample_blocks(self.g, utils.prepare_tensor_or_dict(self.g, items, "items"))


class DistNodeDataLoader(distributed.DistDataLoader):
    def __init__(self, g, nids, graph_sampler, device=None, gb_padding=1, **kwargs):
        self.collator = NodeCollator(g, nids, graph_sampler, gb_padding)
        super().__init__(self.collator.dataset, collate_fn=self.collator.collate, **kwargs)
        self.device = device or "cpu"


class Moved:
    """As in `dgl.dataloading` since 2.4."""

    def __new__(cls, *args, **kwargs):
        return distributed.DistNodeDataLoader(*args, **kwargs)


def install():
    initialize, init = distributed.initialize, distributed.DistGraph.__init__

    @functools.wraps(initialize)
    def with_graphbolt(ip_config, max_queue_size=1 << 30, net_type=None, num_worker_threads=1, use_graphbolt=False):
        assert not use_graphbolt
        initialize(ip_config, max_queue_size=max_queue_size, num_worker_threads=num_worker_threads)

    @functools.wraps(init)
    def init_2_4(self, graph_name, gpb=None, part_config=None):
        self._use_graphbolt = False
        init(self, graph_name, gpb, part_config)

    distributed.initialize, distributed.DistGraph.__init__ = with_graphbolt, init_2_4
    distributed.DistNodeDataLoader, dgl.dataloading.DistNodeDataLoader = DistNodeDataLoader, Moved
