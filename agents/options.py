"""Command-line options for reaching a language model (`agents.registry.ModelOptions`)."""

from __future__ import annotations

from typing import Annotated

import typer

ModelHost = Annotated[
    str | None,
    typer.Option(
        "--ollama-host",
        "--model-host",
        help="Address of the model's server; several with commas between are one a trainer.",
        show_default="OLLAMA_HOST or OPENAI_BASE_URL",
    ),
]
AskAgain = Annotated[
    bool, typer.Option("--ask-again", help="Ask the model even if it has answered the question before.")
]
TimeoutS = Annotated[
    float, typer.Option("--timeout-s", help="A model's answer counts as late after this many seconds.")
]
