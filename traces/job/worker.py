"""A user's script as the program of every process of a cluster that `traces.cluster` starts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from traces.errors import InputError
from traces.job.merge import Provenance
from traces.job.observe import install, observe
from traces.job.run import JobRecording
from traces.job.script import is_server, run_script


def filled_in(arguments: list[str]) -> list[str]:
    """A script's arguments with `{ip_config}`, `{part_config}` and `{graph_name}` replaced by this job's."""
    config = os.environ["DGL_CONF_PATH"]
    graph_name = json.loads(Path(config).read_text())["graph_name"]
    known = {"{ip_config}": os.environ["DGL_IP_CONFIG"], "{part_config}": config, "{graph_name}": graph_name}
    for name, value in known.items():
        arguments = [one.replace(name, value) for one in arguments]
    return arguments


def run_recorded(make_run: Callable[[], JobRecording], arguments: dict[str, Any]) -> None:
    """Run the script; in a trainer, the recording that `make_run` makes observes it."""
    script, words = Path(arguments["script"]), filled_in(arguments["arguments"])
    if is_server():
        install()
        run_script(script, words)
        return
    try:
        run = make_run()
        observe(run)
        try:
            run_script(script, words)
        except SystemExit as end:
            if end.code:
                raise
        run.finish()
    except InputError as error:
        sys.exit(f"error: {error}")


def main(arguments: dict[str, Any]) -> None:
    """Record the script."""
    provenance = Provenance.model_validate(arguments["provenance"])
    run_recorded(lambda: JobRecording(Path(arguments["out"]), provenance), arguments)


main.serves = True  # type: ignore[attr-defined]  # servers run the script, too, as under DGL's own launcher
