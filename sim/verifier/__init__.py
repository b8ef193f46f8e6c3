"""Policies and ranking functions that anybody, or any model, writes: run where they can do no harm, and scored."""

__all__ = [
    "candidate", "cells", "child", "confinement", "entries", "evaluate", "page", "process", "records", "remote",
    "standings", "template",
]  # fmt: skip
