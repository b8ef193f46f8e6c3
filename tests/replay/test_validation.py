"""The grid of replay.validate, what its cost models are fitted on, and its figures by hand."""

from pathlib import Path

import polars as pl
import pytest

from replay.fidelity import markdown
from replay.grid import read_grid, runs_of
from replay.validation import fitted_on, summarise

BLOCK = """
[[blocks]]
graph = "data/small"
machines = [2]
links = ["100mbit", "1gbit"]
repeats = 2
policies = [{ agent = "none" }, { agent = "pipeline" }, { agent = "never", cache = "lru", init = "empty" }]
"""


def grid(tmp_path: Path, text: str):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    return read_grid(path)


def test_every_configuration_comes_once_before_any_twice(tmp_path: Path) -> None:
    runs = runs_of(grid(tmp_path, BLOCK))
    assert [run.repeat for run in runs] == [0] * 6 + [1] * 6
    policies = [run.policy.agent for run in runs]
    assert (policies[:3], policies[6:9]) == (["none", "pipeline", "never"], ["never", "pipeline", "none"])
    assert len({run.folder for run in runs}) == 12
    assert runs[0].config.agent == "none"


def test_runs_made_under_former_names_are_found(tmp_path: Path) -> None:
    old = 'agent = "trickle:.1", cache = "score", init = "empty" }, { agent = "never", cache = "likeliest"'
    before = BLOCK.replace('agent = "never", cache = "lru", init = "empty"', old)
    now = before.replace("trickle", "partial").replace("likeliest", "vip-demand")
    former, today = (runs_of(grid(tmp_path, text)) for text in (before, now))
    assert former == today
    assert former[2].folder == "small-2-100mbit-b500-trickle-.1-score-25-halo-r0"
    assert former[2].policy.label == "partial:.1 score 25% halo, empty at first"
    assert former[3].folder == "small-2-100mbit-b500-never-likeliest-25-halo-r0"
    assert former[3].policy.label == "never vip-demand 25% halo"


def test_starts_are_told_apart(tmp_path: Path) -> None:
    starts = ("degree", "degree-global", "random", "empty")
    found = [runs_of(grid(tmp_path, BLOCK.replace('"empty"', f'"{init}"')))[2] for init in starts]
    assert [run.policy.init for run in found] == list(starts)
    assert [run.policy.label.partition(" at first")[0].partition(", ")[2] for run in found] == ["", *starts[1:]]
    folders = [run.folder for run in found]
    assert len(set(folders[:3])) == 3
    assert folders[3] == folders[0]  # as ever: runs that were made are found


def test_no_configuration_is_predicted_by_itself(tmp_path: Path) -> None:
    runs = runs_of(grid(tmp_path, BLOCK))
    for run in runs:
        others = fitted_on([run], runs)
        assert {one.setting for one in others} == {run.setting}
        assert {one.policy.agent for one in others} == {"none", "pipeline", "never"} - {run.policy.agent}
        assert {one.repeat for one in others} == {0, 1}


def test_two_policies_are_compared_under_a_model_fitted_on_neither(tmp_path: Path) -> None:
    runs = runs_of(grid(tmp_path, BLOCK))
    pair = [one for one in runs if one.setting == runs[0].setting and one.policy.agent in ("none", "never")][:2]
    assert {one.policy.agent for one in fitted_on(pair, runs)} == {"pipeline"}


def test_without_others_of_its_setting_the_nearest_link_is_taken(tmp_path: Path) -> None:
    links = BLOCK.replace('"1gbit"', '"200mbit", "1gbit"')
    runs = runs_of(grid(tmp_path, links))
    assert runs[0].link == "100mbit"
    others = fitted_on([one for one in runs if one.setting == runs[0].setting], runs)
    assert {one.link for one in others} == {"200mbit"}
    assert {one.policy.agent for one in others} == {"none", "pipeline", "never"}


def test_the_figures_by_hand() -> None:
    """Three policies, the first run twice; the simulator swaps the two fastest, so two of three pairs are in order. The
    two fastest differ by 10 %, the noise is 6.7 %: only the other two pairs are clear."""
    live, simulated = [2.0, 2.2, 1.0, 1.1], [2.1, 2.1, 1.2, 1.1]
    rows = pl.DataFrame(
        {
            "graph": "g", "machines": 2, "link": "1gbit", "batch": 10, "policy": ["none", "none", "a", "b"],
            "repeat": [0, 1, 0, 0], "live_hit_rows": [0, 0, 50, 20], "simulated_hit_rows": [0, 0, 50, 20],
            "remote_rows": 100, "live_fetched_rows": [100, 100, 50, 80], "simulated_fetched_rows": [100, 100, 50, 80],
            "different_minibatches": [0, 0, 0, 1], "minibatches": 10, "live_epoch_s": live,
            "simulated_epoch_s": simulated, "error_share": 0.0, "fitted_on": "other",
        }
    )  # fmt: skip
    pairs = pl.DataFrame(
        {
            "graph": "g", "machines": 2, "link": "1gbit", "batch": 10, "policy": ["none", "none", "a"],
            "other_policy": ["a", "b", "b"], "simulated_s": [2.0, 2.0, 1.3], "other_simulated_s": [1.3, 1.2, 1.2],
        }
    )  # fmt: skip
    tables = summarise(rows, pairs)
    [setting] = tables["settings"].to_dicts()
    assert setting["kendall_tau"] == pytest.approx(1 / 3)
    assert (setting["clear_tau"], setting["clear_pairs"]) == (1.0, 2)
    assert setting["table_tau"] == pytest.approx(1 / 3)
    assert (setting["chosen"], setting["best"]) == ("b", "a")
    assert setting["regret_share"] == pytest.approx(0.1)
    assert not setting["regret_is_clear"]
    assert setting["noise_share"] == pytest.approx(0.1 * 2**0.5 / 2.1)
    overall = tables["overall"].to_dicts()[0]
    assert overall["mean_error_share"] == pytest.approx((0.0 + 0.2 + 0.0) / 3)
    assert overall["worst_error_share"] == pytest.approx(0.2)
    assert overall["noise_share"] == pytest.approx(0.1 * 2**0.5 / 2.1)  # the standard deviation of 2.0 and 2.2
    assert overall["different_minibatches"] == 1
    page = markdown(tables, "\nOver copper.\n", "python -m replay.validate", "")
    assert "live runs\n\nOver copper.\n\nEvery row" in page
    assert "10.0% (within noise) |" in page
    assert "| g | 2 | 1gbit | 10 | a | 1 | 50.00% | 50.00% | 50 | 50 | 1.000 | 1.200 | +20.0% |  |" in page


def test_pairs_are_told_apart_by_the_noise_of_their_own_setting() -> None:
    """Epochs that are 5 % apart: told apart at 1 % of noise, and not at 10 %."""
    rows, pairs = [], []
    for link, noise in (("100mbit", 0.01), ("1gbit", 0.1)):
        for policy, mean_s in (("none", 1.0), ("a", 1.05)):
            for repeat, live_s in enumerate((mean_s * (1 - noise / 2**0.5), mean_s * (1 + noise / 2**0.5))):
                rows.append(
                    {
                        "graph": "g", "machines": 2, "link": link, "batch": 10, "policy": policy, "repeat": repeat,
                        "live_hit_rows": 0, "simulated_hit_rows": 0, "remote_rows": 1, "live_fetched_rows": 1,
                        "simulated_fetched_rows": 1, "different_minibatches": 0, "minibatches": 1,
                        "live_epoch_s": live_s, "simulated_epoch_s": 2 - mean_s, "error_share": 0.0, "fitted_on": "",
                    }
                )  # fmt: skip
        pairs.append(
            {
                "graph": "g", "machines": 2, "link": link, "batch": 10, "policy": "none", "other_policy": "a",
                "simulated_s": 1.0, "other_simulated_s": 0.95,
            }
        )  # fmt: skip
    tables = summarise(pl.DataFrame(rows), pl.DataFrame(pairs))
    calm, noisy = tables["settings"].to_dicts()
    assert (calm["clear_pairs"], noisy["clear_pairs"]) == (1, 0)
    assert (calm["regret_is_clear"], noisy["regret_is_clear"]) == (True, False)
    overall = tables["overall"].to_dicts()[0]
    assert overall["worst_clear_regret_share"] == pytest.approx(0.05)
    assert overall["clear_tau"] == -1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[2]", "[]"), "machines"),
        (('"1gbit"', '"fast"'), "link rate 'fast'"),
        (('{ agent = "none" }, ', ""), "no policy none"),
        (('"pipeline"', '"clever"'), "clever"),
        (('"pipeline"', '"pipeline", buffer = "5%"'), "pipeline has no buffer, so buffer would mean nothing"),
        (('init = "empty"', 'universe = "world"'), "universe='world'"),
        (("repeats", "repeat"), "repeat"),
        (("[[blocks]]", "[[blocks"), "--grid"),
    ],
)
def test_grids_that_cannot_be(tmp_path: Path, run_cli, change, message) -> None:
    path = tmp_path / "grid.toml"
    path.write_text(BLOCK.replace(*change))
    code, _, err = run_cli("replay.validate", "--grid", str(path))
    assert code == 2
    assert message in err
