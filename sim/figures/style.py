"""The look that all figures share. Importing it imports no matplotlib."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = Path(__file__).with_name("rudder.mplstyle")
"""A matplotlib style: `plt.style.use(STYLE)`, or `with matplotlib.rc_context(fname=STYLE)`."""

GREY, ORANGE, BLUE, GREEN, VERMILLION, PURPLE, SKY = (
    "#666666", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#CC79A7", "#56B4E9",
)  # fmt: skip

FIXED = {"none": GREY, "pipeline": ORANGE, "MIN": GREEN}
"""Colours that are the same in every figure: DistDGL, pipelining without a buffer, and the bound."""

OTHERS = (BLUE, VERMILLION, PURPLE, SKY, "#000000")

LABELS = {"none": "DistDGL as it is (none)", "pipeline": "no buffer (pipeline)", "MIN": "MIN (bound)"}


def panels(columns: int = 1, width: float = 8, height: float = 3.6) -> tuple[Figure, Any]:
    """A figure for a notebook, of so many inches, and its axis, or its axes where it has several columns.

    Whatever is drawn with pyplot afterwards has the look of the project's figures.
    """
    import matplotlib.pyplot as plt

    plt.style.use(STYLE)
    return plt.subplots(1, columns, figsize=(width, height))


def colour_of(policy: str, number: int = 0) -> str:
    """The colour of a policy; `number` counts those that have none of their own, from 0."""
    return FIXED.get(policy, OTHERS[number % len(OTHERS)])


def label_of(policy: str) -> str:
    """What a legend calls a policy."""
    return LABELS.get(policy, policy)


def caption(figure: Figure, text: str) -> None:
    """Write where a figure's data come from below it, folded to its width: notice, trace, configuration, command."""
    letters = int(figure.get_figwidth() * 19)
    figure.supxlabel("\n".join(textwrap.wrap(text, letters)), fontsize="x-small", color="#555555", x=0.01, ha="left")
