"""The training program of a live run: that of `traces.capture` with buffered features."""

# no `from __future__ import annotations`, as in `traces.capture.training`
import json
from pathlib import Path
from typing import Any

from agents.policy import Policy
from agents.user_code import enter_folder
from replay.agent_process import Address, RemotePolicy
from replay.check import VerifyingStore
from replay.decisions import EpochLog, fill_file
from replay.loader import make_store
from sim.config import RunConfig
from sim.counts.policy_runs import plan_of_config
from traces.capture import worker
from traces.capture.fetch import FeatureSource
from traces.capture.launch import HEADER_FILE, nodes_file
from traces.capture.training import FEATURE
from traces.cluster.process import Connection
from traces.header import Header
from traces.nodes import Nodes


def buffered(connection: Connection, arguments: dict[str, Any], per_epoch: int) -> FeatureSource:
    """The buffered features of one trainer, by the arguments of `replay.launch`."""
    fragments = Path(arguments["fragments"])
    config = RunConfig.model_validate_json(arguments["config"])
    enter_folder(Path(arguments["folder"]), config.user_code)
    header = Header.model_validate_json((fragments / HEADER_FILE).read_text())
    nodes = Nodes.load(nodes_file(fragments, connection.machine))
    tensors = {FEATURE: connection.graph.ndata[FEATURE]}
    policy, slow = _policy(config, arguments), arguments["agents"] is not None
    log = EpochLog(fragments, connection.rank, header.epochs)
    store = make_store(tensors, nodes, header, connection.rank, config, policy, slow, per_epoch, log.end_epoch)
    fill_file(fragments, connection.rank).write_text(json.dumps(store.fill_s))
    return VerifyingStore(store, tensors) if arguments["check"] else store


def _policy(config: RunConfig, arguments: dict[str, Any]) -> Policy:
    """The policy: a model is asked through the agent process of `replay.launch`; all other policies decide here."""
    if (agents := arguments["agents"]) is None:
        return plan_of_config(config).make()
    return RemotePolicy(config.agent, Address.from_json(agents), arguments["timeout_s"])


def main(arguments: dict[str, Any]) -> dict[str, Any]:
    """The entry of every server and trainer process of a buffered run."""
    return worker.run(arguments, buffered)
