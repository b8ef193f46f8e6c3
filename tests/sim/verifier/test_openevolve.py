"""The page's example runs under OpenEvolve's own package, with mutations in place of a model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openevolve")
PAGE = Path(__file__).parents[3] / "docs" / "evolving.md"

MUTATE = '''
"""Stands where a model would: every answer is a diff, the next of a list."""

from openevolve.api import run_evolution
from openevolve.config import load_config

ANSWERS = ("-1.0 * rows.age", "open('hand.parquet')", "rows.degree")


class Mutation:
    def __init__(self, config):
        self.asked = 0

    async def generate_with_context(self, system_message, messages, **options):
        there = [line for line in messages[0]["content"].splitlines() if line.strip().startswith("return ")][-1]
        self.asked += 1
        return f"<<<<<<< SEARCH\\n{there}\\n=======\\n        return {ANSWERS[self.asked - 1]}\\n>>>>>>> REPLACE"


if __name__ == "__main__":
    config = load_config("config.yaml")
    for model in (*config.llm.models, *config.llm.evaluator_models):
        model.init_client = Mutation
    config.evaluator.cascade_thresholds = [0.1]
    config.evolution_trace.enabled = config.evolution_trace.include_code = True
    config.evolution_trace.output_path = "children.jsonl"
    found = run_evolution("initial_program.py", "evaluator.py", config, iterations=3, output_dir="out", cleanup=False)
    print(found.best_code)
'''


def test_the_example_of_the_page_evolves(trace, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(PAGE.parents[1] / "tests" / "docs")
    from blocks import blocks

    for block in blocks(PAGE):
        block.write(tmp_path)
    for name, before, after in (
        ("evaluator.py", '["traces/debian.parquet"]', f'[{str(trace)!r}], buffers=("5",)'),
        ("initial_program.py", "-1.0 * rows.age", "rows.age"),
    ):
        text = (tmp_path / name).read_text()
        assert before in text
        (tmp_path / name).write_text(text.replace(before, after))
    (tmp_path / "mutate.py").write_text(MUTATE)
    words = [sys.executable, "mutate.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    children = [json.loads(line) for line in (tmp_path / "children.jsonl").read_text().splitlines()]
    scores = {
        one["child_code"].split("return ")[1].splitlines()[0]: one["child_metrics"]["combined_score"]
        for one in children
    }
    assert scores["open('hand.parquet')"] == 0.0
    assert scores["-1.0 * rows.age"] > children[0]["parent_metrics"]["combined_score"] > 0
    assert "return -1.0 * rows.age" in done.stdout  # the best, and what the search returns
