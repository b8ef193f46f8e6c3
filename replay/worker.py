"""The training program of a live run with a buffer: what `traces.capture` runs, with the features buffered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agents.gate import Gate
from agents.registry import resolve
from replay.buffered import BufferedStore
from sim.config import RunConfig
from sim.load import make_universe
from sim.simulate import make_trainer_cache, run_facts
from traces.capture import worker
from traces.capture.launch import HEADER_FILE, nodes_file
from traces.cluster.process import Connection
from traces.header import Header
from traces.nodes import Nodes


def buffered(connection: Connection, arguments: dict[str, Any], per_epoch: int) -> BufferedStore:
    """The buffered features of one trainer; `arguments["config"]` is the JSON of a `sim.config.RunConfig`."""
    fragments = Path(arguments["fragments"])
    config = RunConfig.model_validate_json(arguments["config"])
    header = Header.model_validate_json((fragments / HEADER_FILE).read_text())
    header = header.model_copy(update={"minibatches_per_epoch": per_epoch})
    nodes = Nodes.load(nodes_file(fragments, connection.machine))
    universe = make_universe(nodes, config.universe)
    cache = make_trainer_cache(header, connection.rank, universe, config, future=None)
    facts = run_facts(header, connection.rank, universe, per_epoch * header.epochs, config, cache.capacity_rows)
    gate = Gate(resolve(config.agent).make(), facts, config.seed)
    offsets = header.partition.offsets
    owned = (offsets[connection.machine], offsets[connection.machine + 1])
    return BufferedStore(connection.graph.ndata["feat"], owned, universe, cache, gate, per_epoch)


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """The entry of every server and trainer process of a buffered run."""
    return worker.run(arguments, buffered)
