"""Makes `small.npz`: the remote rows of one trainer on a small synthetic graph, as DistDGL would sample them.

The graph has four communities with power-law degrees, one partition each; a quarter of the edges leave their
community. The trainer on partition 0 samples neighbours with fanout 5,10 (the last for the seeds) for minibatches of 60
of its 480 seeds.

    python tests/sim/caches/make_trace.py
"""

from pathlib import Path

import numpy as np

NODES, PARTS, EDGES, SEEDS, BATCH, EPOCHS = 8_000, 4, 60_000, 480, 60, 15
FANOUT = (10, 5)  # from the seeds outwards
PATH = Path(__file__).with_name("small.npz")


def graph(random):
    """Offsets and sources of every node's in-edges."""
    weight = random.pareto(1.3, NODES) + 0.2
    part = np.arange(NODES) * PARTS // NODES
    ends = []
    for home in range(PARTS):
        inside = np.flatnonzero(part == home)
        ends.append(random.choice(inside, EDGES // PARTS, p=weight[inside] / weight[inside].sum()))
    source = np.concatenate(ends)
    target = np.empty_like(source)
    for home in range(PARTS):
        inside, here = np.flatnonzero(part == home), part[source] == home
        target[here] = random.choice(inside, here.sum(), p=weight[inside] / weight[inside].sum())
    away = random.random(EDGES) < 1 / 4
    target[away] = random.choice(NODES, away.sum(), p=weight / weight.sum())
    source, target = np.concatenate((source, target)), np.concatenate((target, source))
    order = np.argsort(target, kind="stable")
    return np.concatenate(([0], np.cumsum(np.bincount(target, minlength=NODES)))), source[order]


def sample(random, seeds, offsets, sources):
    """All input nodes of one minibatch."""
    frontier, nodes = seeds, set(seeds.tolist())
    for fanout in FANOUT:
        drawn = [np.empty(0, np.int64)]
        for node in frontier:
            neighbours = sources[offsets[node] : offsets[node + 1]]
            drawn.append(random.choice(neighbours, min(fanout, len(neighbours)), replace=False))
        frontier = np.unique(np.concatenate((frontier, *drawn)))
        nodes |= set(frontier.tolist())
    return np.array(sorted(nodes))


def inclusion(train, offsets, sources):
    """Every node's probability of being an input node of one minibatch, as if hops and edges were independent."""
    targets = np.repeat(np.arange(NODES), np.diff(offsets))
    now = np.zeros(NODES)
    now[train] = BATCH / SEEDS
    missing = 1 - now
    for fanout in FANOUT:
        taken = now[targets] * np.minimum(1, fanout / np.diff(offsets)[targets])
        now = 1 - np.exp(np.bincount(sources, np.log1p(-np.minimum(taken, 0.999)), minlength=NODES))
        missing *= 1 - now
    return 1 - missing


def main():
    random = np.random.default_rng(3)
    offsets, sources = graph(random)
    inner = NODES // PARTS
    train = random.choice(inner, SEEDS, replace=False)
    minibatches = []
    for _ in range(EPOCHS):
        for seeds in random.permutation(train).reshape(-1, BATCH):
            nodes = sample(random, seeds, offsets, sources)
            minibatches.append(nodes[nodes >= inner] - inner)
    local = np.bincount(sources[: offsets[inner]], minlength=NODES)[inner:]
    np.savez_compressed(
        PATH,
        ids=np.concatenate(minibatches).astype(np.uint16),
        rows=np.array([len(m) for m in minibatches], np.uint16),
        degrees=np.bincount(sources, minlength=NODES)[inner:].astype(np.uint16),
        local_degrees=local.astype(np.uint16),
        vip=inclusion(train, offsets, sources)[inner:].astype(np.float32),
        minibatches_per_epoch=SEEDS // BATCH,
    )
    rows = [len(m) for m in minibatches]
    print(f"{PATH.stat().st_size} bytes, {len(rows)} minibatches, {np.mean(rows):.0f} remote rows each, "
          f"{np.count_nonzero(local)} of {NODES - inner} in the halo")  # fmt: skip


if __name__ == "__main__":
    main()
