"""Pages of runs, sweeps and judged decisions: whole in one file, whatever the data say, and usable in a browser."""

import asyncio
import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import browser
import polars as pl
import pytest

from sim.config import RunConfig
from sim.reports.page.commands import run_command

TRACE = Path(__file__).parents[3] / "traces/debian.parquet"
EVIL = "</td><script>alert(1)</script><img src=https://evil.example/x.png onerror=alert(2)>"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run of a model whose words are hostile, a sweep, and judged decisions: shared, and not changed by a test."""
    folder = tmp_path_factory.mktemp("results")
    answer = {
        "reason": EVIL[:110],
        "action": "replace",
        "share_percent": 50,
        "ranking": "misses",
        "expected_impact": "&<b>",
    }
    (folder / "answers.jsonl").write_text(json.dumps(answer) + "\n")
    return folder


@pytest.fixture
def pages(folders, run_cli):
    """Where the three pages are, by kind; made once."""
    trace = ["--trace", str(TRACE)]
    commands = {
        "run": ["sim.run", *trace, "--agent", f"scripted:{folders}/answers.jsonl", "--window", "40"],
        "sweep": [
            "sim.sweeps.command",
            "--quiet",
            *trace,
            "--caches",
            "score lru",
            "--buffers",
            "5% 25%",
            "--links",
            "captured 1gbit",
        ],
        "judge": ["sim.judge", *trace, "--agent", "hill-climb:16", "--window", "40", "--cache", "score-public"],
    }
    for kind, (module, *options) in commands.items():
        out, html = folders / kind, folders / f"{kind}.html"
        if not html.exists():
            assert run_cli(module, *options, "--out", str(out))[0] == 0
            assert run_cli("sim.report", str(out), "--html", str(html), "--figures", str(folders / "figures"))[0] == 0
    return {kind: folders / f"{kind}.html" for kind in commands}


class Tags(HTMLParser):
    """All tags with their attributes, and all text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("kind", ["run", "sweep", "judge"])
def test_a_page_is_one_file_and_runs_its_own_script_only(pages, kind):
    found = Tags(pages[kind].read_text())
    linked = [one[name] for _, one in found.tags for name in ("src", "href") if name in one]
    assert all(address.startswith(("data:", "#section-")) for address in linked)
    assert [tag for tag, _ in found.tags].count("script") == 1
    policy = next(one["content"] for tag, one in found.tags if tag == "meta" and "http-equiv" in one)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    pictures = [one for tag, one in found.tags if tag == "img"]
    assert pictures
    assert all(one["alt"] for one in pictures)


def test_what_a_model_says_is_text(pages):
    page = pages["run"].read_text()
    assert "<script>alert" not in page
    assert "onerror" not in [name for _, one in Tags(page).tags for name in one]
    assert EVIL[:110] in Tags(page).text
    svgs = re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)
    assert all(b"alert(1)" not in base64.b64decode(svg) for svg in svgs)


def test_a_run_page_says_what_a_reader_needs(pages, folders):
    text = Tags(pages["run"].read_text()).text
    row = (
        pl.read_parquet(folders / "run/runs.parquet")
        .filter(pl.col("policy").str.starts_with("scripted"))
        .row(0, named=True)
    )
    assert f"An epoch takes {row['epoch_s_mean']:.3g} s (simulated)" in text
    assert "decisions, " in text
    assert "python -m sim.run --trace traces/debian.parquet" in text


def test_the_command_on_the_page_makes_the_run_again(pages, folders, run_cli, tmp_path):
    config = RunConfig.model_validate_json((folders / "run/config.json").read_text())
    words = run_command(config).split()
    assert words[:3] == ["python", "-m", "sim.run"]
    words[words.index("traces/debian.parquet")] = str(TRACE)
    assert run_cli("sim.run", *words[3:], "--out", str(tmp_path / "again"))[0] == 0
    assert RunConfig.model_validate_json((tmp_path / "again/config.json").read_text()) == config


def test_figures_are_written_as_files_too(pages, folders):
    names = sorted(path.name for path in (folders / "figures").iterdir())
    assert "minibatches.png" in names
    assert "hit-rates-debian-halo.png" in names
    assert "regret.png" in names
    assert all((folders / "figures" / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_the_same_results_give_the_same_page(pages, folders, run_cli):
    before = pages["run"].read_bytes()
    assert run_cli("sim.report", str(folders / "run"), "--html", str(pages["run"]))[0] == 0
    assert pages["run"].read_bytes() == before


def test_results_for_machines(pages, folders, run_cli):
    for kind, first in (("run", "policy"), ("sweep", "trace"), ("judge", "agent")):
        code, out, _ = run_cli("sim.report", str(folders / kind), "--json")
        assert code == 0
        assert first in json.loads(out)["rows"][0]


@pytest.mark.parametrize(
    ("kind", "spoil", "message"),
    [
        ("run", lambda folder: (folder / "minibatches.parquet").unlink(), "minibatches.parquet"),
        ("run", lambda folder: (folder / "config.json").write_text("{"), "config.json"),
        ("judge", lambda folder: (folder / "report.parquet").write_text(""), "sim.judge"),
    ],
)
def test_a_folder_that_lacks_a_part_is_one_clear_error(pages, folders, run_cli, tmp_path, kind, spoil, message):
    folder, html = tmp_path / kind, tmp_path / "out.html"
    shutil.copytree(folders / kind, folder)
    spoil(folder)
    code, _, err = run_cli("sim.report", str(folder), "--html", str(html))
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert not html.exists()


def test_options_of_sweeps_mean_nothing_to_a_run(pages, folders, run_cli):
    code, _, err = run_cli("sim.report", str(folders / "run"), "--pareto")
    assert code == 2
    assert "is no sweep" in err


@pytest.mark.skipif(browser.CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("kind", ["run", "sweep", "judge"])
def test_in_a_browser(pages, tmp_path, kind):
    async def look(devtools, width):
        tab = await browser.tab(devtools)
        await tab.open(pages[kind].as_uri(), width, 800)
        assert await tab.evaluate("document.documentElement.scrollWidth") <= width  # nothing sticks out on the right
        column = "[...document.querySelector('tbody').rows].map(row => row.cells[%d].textContent)"
        headings = await tab.evaluate("[...document.querySelector('tr').cells].map(cell => cell.innerText)")
        at = headings.index("epoch s")
        for turn in (1, -1):
            await tab.evaluate(f"document.querySelectorAll('th button')[{at}].click()")
            seconds = [float(text) for text in await tab.evaluate(column % at) if text]
            assert seconds == sorted(seconds, reverse=turn < 0)
        assert len(await tab.screenshot()) > 10_000
        assert tab.complaints == []
        assert tab.requests == [pages[kind].as_uri()]

    with browser.chromium(tmp_path / "profile") as devtools:
        for width in (1200, 390):
            asyncio.run(look(devtools, width))


def test_the_command_names_what_was_changed_of_the_cluster():
    changed = {"link_latency_s": 0.002, "depth": 2, "compute_speed": 4.0, "scenario": "{}", "link_bytes_per_s": 125e6}
    changed |= {"engine": "simpy"}
    command = run_command(RunConfig(trace="debian.parquet", trace_sha256="", agent="pipeline", **changed))
    assert command == (
        "python -m sim.run --trace traces/debian.parquet --agent pipeline --link 1000000000bit --latency-s 0.002 "
        "--depth 2 --compute-speed 4.0 --engine simpy --scenario scenario.toml --seed 0"
    )
