"""The simulator: exact caches, and a SimPy model of the time around them.

`Twin` opens a captured run and simulates policies over it; `sweep` simulates many configurations. They are imported
when they are first used, so that `import sim` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from traces.other_agents import refuse_other_agents

if TYPE_CHECKING:
    from sim.runs.twin import Twin as Twin
    from sim.sweeps.in_process import sweep as sweep

refuse_other_agents()

__all__ = ["Twin", "sweep"]

_MODULES = {"Twin": "sim.runs.twin", "sweep": "sim.sweeps.in_process"}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'sim' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
