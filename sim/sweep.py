"""`python -m sim.sweep`. The command is `sim.sweeps.command`, as `from sim import sweep` gives the function."""

from __future__ import annotations

from sim.sweeps.command import app
from traces.errors import run_command

if __name__ == "__main__":
    run_command(app)
