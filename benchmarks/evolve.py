"""One round of evolution without a model: `python -m benchmarks.evolve`, which writes docs/validation/evolution.md.

A ranking function is an arithmetic expression of what a cache knows of rows (`sim.caches.ranked.Rows`). Mutations
replace a part of it by a random one, wrap it, pull a part up, or change a number. A tournament of three chooses a
parent, the child replaces the worst of three. `sim.verifier` scores every one, a tenth of the epochs first. The search
sees one trace, with one size of buffers; the other trace is hidden until it ends.

    python -m benchmarks.evolve --evaluations 34

Each evaluation is a line in results/evolve/log.jsonl and isn't run again: stop it whenever you like.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
from dataclasses import dataclass
from pathlib import Path

from sim.verifier.candidate import Ours
from sim.verifier.cells import SHIPPED, cells
from sim.verifier.evaluate import Verifier, measure, speedup
from traces.checksum import sha256_of

FOLDER, PAGE = Path("results/evolve"), Path("docs/validation/evolution.md")
START = "-rows.age"
POPULATION, TOURNAMENT, DEEPEST = 16, 3, 60
EARLY_MARGIN = 0.97
"""A child goes on to all epochs if it has this part of its parent's score after the first."""

TERMINALS = ("rows.accesses", "rows.age", "rows.gap", "rows.degree", "rows.local_degree", "rows.vip", "rows.held")
BINARY = ("({0} + {1})", "({0} - {1})", "({0} * {1})", "({0} / (1.0 + np.abs({1})))", "np.minimum({0}, {1})",
          "np.maximum({0}, {1})")  # fmt: skip
UNARY = ("(-{0})", "np.log1p(np.abs({0}))", "np.sqrt(np.abs({0}))")

FILE = '''"""A ranking function that benchmarks.evolve found."""

import numpy as np

from sim.caches.ranked import Ranked


class Evolved(Ranked):
    """Keeps the rows for which this is highest."""

    def rank(self, rows):
        return np.zeros(len(rows.age)) + {expression}
'''


@dataclass
class Individual:
    """An expression, and what it came to: its score after the first epochs, and over all (0 where it never got so
    far)."""

    expression: str
    early: float
    score: float


def number(rng: random.Random) -> str:
    """A number between .01 and 100, as many small ones as large ones."""
    return f"{10 ** rng.uniform(-2, 2):.3g}"


def grown(rng: random.Random, depth: int) -> str:
    """A random expression."""
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(TERMINALS) if rng.random() < 0.75 else number(rng)
    if rng.random() < 0.25:
        return rng.choice(UNARY).format(grown(rng, depth - 1))
    return rng.choice(BINARY).format(grown(rng, depth - 1), grown(rng, depth - 1))


def mutated(expression: str, rng: random.Random) -> str:
    """Another expression, near to one."""
    parts = [
        part
        for node in ast.walk(ast.parse(expression, mode="eval"))
        if isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call | ast.Attribute | ast.Constant)
        and (part := ast.unparse(node)) not in ("np.abs", "np.log1p", "np.sqrt", "np.minimum", "np.maximum")
    ]
    text, part = ast.unparse(ast.parse(expression, mode="eval")), rng.choice(parts)
    how = rng.random()
    if how < 0.4:
        new = grown(rng, 2)
    elif how < 0.7:
        new = rng.choice(BINARY).format(*rng.sample([part, grown(rng, 1)], 2))
    elif how < 0.85:
        new = rng.choice(parts)
    else:
        numbers = [one for one in parts if one.replace(".", "").isdigit()]
        part = rng.choice(numbers) if numbers else part
        new = f"{float(part) * rng.uniform(0.5, 2):.3g}" if numbers else rng.choice(UNARY).format(part)
    return ast.unparse(ast.parse(text.replace(part, f"({new})", 1), mode="eval"))


def size(expression: str) -> int:
    """Its nodes."""
    return sum(1 for _ in ast.walk(ast.parse(expression)))


class Search:
    """The population, and the log of all evaluations."""

    def __init__(self, verifier: Verifier) -> None:
        self.verifier, self.log = verifier, FOLDER / "log.jsonl"
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.known = {one["expression"]: Individual(**one) for one in map(json.loads, lines)}

    def evaluate(self, expression: str, needed: float) -> Individual:
        """Score an expression, over all epochs if its early score is at least `needed`."""
        if expression not in self.known:
            path = FOLDER / "candidate.py"
            path.write_text(FILE.format(expression=expression))
            early = self.verifier.evaluate_stage1(path).metrics["combined_score"]
            score = self.verifier.evaluate(path).metrics["combined_score"] if early >= max(needed, 1e-9) else 0.0
            self.known[expression] = Individual(expression, early, score)
            with self.log.open("a") as file:
                file.write(json.dumps(vars(self.known[expression])) + "\n")
        return self.known[expression]

    def run(self, evaluations: int, seed: int) -> Individual:
        """Evolve. The same seed gives the same search, however often it was stopped."""
        rng = random.Random(seed)
        population = [self.evaluate(START, 0.0)]
        done = {START}
        while len(done) < evaluations:
            parent = max(rng.choices(population, k=TOURNAMENT), key=lambda one: one.score)
            child = mutated(parent.expression, rng)
            if child in done or size(child) > DEEPEST:
                continue
            done.add(child)
            new = self.evaluate(child, EARLY_MARGIN * parent.early)
            best = max(population, key=lambda one: one.score)
            if new.score > best.score:
                print(f"{len(done)}: {new.score:.4f}  {child}", flush=True)
            if not new.score:
                continue
            population.append(new)
            if len(population) > POPULATION:
                worst = min(rng.sample(population, TOURNAMENT), key=lambda one: one.score)
                population.remove(worst)
        return max((self.known[one] for one in done), key=lambda one: one.score)


def row(name: str, seen: float, hidden: float) -> str:
    """A line of the page's table."""
    return f"| {name} | {seen:.4f} | {hidden:.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=34)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    seen, other = SHIPPED
    verifier = Verifier([seen], [other])
    search = Search(verifier)
    best = search.run(arguments.evaluations, arguments.seed)
    found = FOLDER / "evolved.py"
    found.write_text(FILE.format(expression=best.expression))
    whole = sum(one.score > 0 for one in search.known.values())
    refused = sum(one.early == 0 for one in search.known.values())
    start = FOLDER / "start.py"
    start.write_text(FILE.format(expression=START))
    rows = [
        row(name, search.known[expression].score, verifier.evaluate_hidden(path).metrics["combined_score"])
        for name, expression, path in ((f"start: `{START}`", START, start), ("**found**", best.expression, found))
    ]
    for ours in (Ours("lru"), Ours("s3fifo"), Ours("vip-demand"), Ours("lookahead")):
        twins = {path: verifier.twin(path) for path in SHIPPED}
        scores = [
            speedup([measure(ours, twin, cell) for cell in cells((path.stem,), verifier.buffers, verifier.scenarios)])
            for path, twin in twins.items()
        ]
        rows.append(row(ours.label + (" (knows what comes)" if ours.cache == "lookahead" else ""), *scores))
    PAGE.write_text(
        f"""# One round of evolution, without a model

**papers100m is synthetic, 1/200 of ogbn-papers100M's published shape.**

Written by `python -m benchmarks.evolve --evaluations {arguments.evaluations} --seed {arguments.seed}`. Mutations of an
arithmetic expression that ranks rows ([evolving](../evolving.md)), scored on the Debian trace with a buffer of 15 %,
steady and congested: how many times as fast epochs are as DistDGL's own. {len(search.known)} expressions were tried,
{whole} of them over all epochs, {refused} refused. The other trace was hidden until the search had ended.

It started from `{START}`, the row that was asked for last, and found

```python
{best.expression}
```

| | {seen.stem} (seen) | {other.stem} (hidden) |
|---|---|---|
{chr(10).join(rows)}

The file's SHA-256 begins with {sha256_of(found)[:16]}; `results/evolve/evolved.py` holds it after the command.
"""
    )
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
