"""Code blocks of the project's pages, and what stands above each.

- A ```bash block is run, unless a comment right above it says why not: <!-- not run: needs a cluster -->. Where it
  would take too long, a comment says what is changed before it is run, as sed would: <!-- run with: s/200/4/ -->.
- A block whose first line names a file (# sim/caches/mine.py) is written to that file.
- A block whose first line is "# in FILE, after: TEXT" is put into that file, after the first line that is TEXT.
- ```python blocks of docs/python.md are run, each in a Python of its own.
- All other blocks are to be read only, and hold no command of the project.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
FILE = re.compile(r"# (?P<path>[\w./-]+\.\w+)\n")
INTO = re.compile(r"# in (?P<path>[\w./-]+), after: (?P<after>.*)\n")


@dataclass(frozen=True)
class Block:
    """One code block, where it begins, and the comment right above it."""

    page: Path
    line: int
    language: str
    text: str
    note: str

    @property
    def reason(self) -> str | None:
        """Why it is not run; None where it is."""
        return self.note.removeprefix("not run:").strip() if self.note.startswith("not run:") else None

    def write(self, folder: Path) -> bool:
        """Do what the first line says of a file. False where it says nothing."""
        if into := INTO.match(self.text):
            path = folder / into["path"]
            lines = path.read_text().splitlines(keepends=True)
            at = lines.index(into["after"] + "\n") + 1
            path.write_text("".join([*lines[:at], self.text[into.end() :], *lines[at:]]))
            return True
        if named := FILE.match(self.text):
            path = folder / named["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text[named.end() :])
            return True
        return False


def blocks(page: Path) -> list[Block]:
    """All code blocks of a Markdown page."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, one.start()) + 1, one["language"], one["text"], one["note"] or "")
        for one in BLOCK.finditer(text)
    ]
