"""Command-line options of policy and buffer (`sim.runs.choose.choose`), for simulated and live runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

PolicyFile = Annotated[
    Path | None,
    typer.Option(help="A configuration as sim.tune and sim.run write it: policy, cache and buffer all at once."),
]
Agent = Annotated[
    str | None,
    typer.Option(
        help="The policy, such as every:16, ollama:llama3 or mine.py:Mine (see sim.run --list).",
        show_default="every:16",
    ),
]
CacheSpec = Annotated[
    str | None,
    typer.Option(help="What the buffer keeps, such as score, lru or mine.py:Mine.", show_default="score"),
]
Trust = Annotated[bool, typer.Option("--trust", help="Run the code that a file names: a policy or cache of yours.")]
Buffer = Annotated[
    str | None,
    typer.Option(help="A trainer's buffer: share of its halo (25%), rows (5000) or bytes (64MB).", show_default="25%"),
]
Init = Annotated[
    Literal["degree", "degree-global", "empty", "random"] | None,
    typer.Option(help="What the buffer holds at first: by degree, local or in the whole graph.", show_default="degree"),
]
InUniverse = Annotated[
    Literal["halo", "remote"] | None,
    typer.Option(help="What may be cached: 1-hop halo or any remote node.", show_default="halo"),
]
Window = Annotated[int | None, typer.Option(min=1, help="Minibatches between two observations.", show_default="1")]
Mode = Annotated[
    Literal["async", "sync"] | None,
    typer.Option(help="Whether training goes on or waits while the policy thinks.", show_default="async"),
]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of policies and caches.", show_default="0")]
Depth = Annotated[
    int | None, typer.Option(min=0, help="Minibatches prepared ahead.", show_default="0 for none, else 1")
]
