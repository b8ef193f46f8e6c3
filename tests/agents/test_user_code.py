"""Policies of a user's own: by file, by module, by entry point, as classes and as objects."""

import pickle
import sys

import pytest

from agents.heuristics.fixed import Every
from agents.policy import Decision
from agents.registry import NAMES, entry_of, plan_of_past, resolve
from agents.user_code import require_trust
from traces.errors import InputError

MINE = '''
from agents.policy import Decision


class Mine:
    """Replaces until a minibatch."""

    name = "mine"

    def __init__(self, until=3, share: float = 0.5, quick: bool = False):
        self.until, self.share, self.quick = until, share, quick

    def reset(self, run, seed):
        pass

    def decide(self, observation):
        return Decision(replace=observation.minibatch < self.until, share=self.share)


class ByCounts(Mine):
    timed = False


class Broken(Mine):
    def __init__(self):
        raise RuntimeError("no way")


class NoPolicy:
    pass


class Odd(Mine):
    def __init__(self, windows: list):
        pass


number = 3
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder, which holds mine.py, and a package that registers it as `mine` and as `never`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    before = set(sys.modules)
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "my_module.py").write_text(MINE)
    package = tmp_path / "theirs-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[rudder_twin.policies]\nmine = my_module:Mine\nnever = my_module:Mine\nlost = no_such_module:Mine\n"
    )
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("text", "name", "until", "share", "quick"),
    [
        ("mine.py:Mine", "mine.py:Mine", 3, 0.5, False),
        (" mine.py:Mine:4 ", "mine.py:Mine:until=4", 4, 0.5, False),
        ("./mine.py:Mine:share=.25,quick=yes", "mine.py:Mine:share=0.25,quick=True", 3, 0.25, True),
        ("my_module:Mine:004", "my_module:Mine:until=4", 4, 0.5, False),
        ("mine", "mine", 3, 0.5, False),
        ("mine:4,.25", "mine:until=4,share=0.25", 4, 0.25, False),
    ],
)
def test_a_policy_is_made_from_its_spec(text, name, until, share, quick):
    plan = resolve(text)
    policy = plan.make()
    assert plan.name == name
    assert (policy.until, policy.share, policy.quick) == (until, share, quick)
    assert plan.make() is not policy
    assert resolve(plan.name) == plan
    assert (plan.buffered, plan.pipelined, plan.calls_model, plan.timed) == (True, True, False, True)
    assert len(plan.sha256) == 64
    assert entry_of(text).buffered


def test_a_class_says_that_it_looks_at_no_times():
    assert not resolve("mine.py:ByCounts").timed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine.py:Yours", "mine.py:Yours: mine.py has no Yours"),
        ("yours.py:Mine", "yours.py:Mine: there is no file yours.py in "),
        ("mine.py:number", "mine.py:number: is no class, but 3"),
        ("mine.py:NoPolicy", "mine.py:NoPolicy: is no policy: it must have name, reset and decide"),
        ("mine.py:Broken", r"mine.py:Broken: can't be made: RuntimeError: no way \(mine.py, line 26\)"),
        ("mine.py:Mine:often=3", "there is no option 'often'; write mine.py:Mine:until=3,share=0.5,quick=False"),
        ("mine.py:Mine:until=x", "until='x' is not of type int"),
        ("mine.py:Odd:3", "windows is of type .*list.*; what is written must be int, float, str or bool"),
        ("my_package.my_module:Mine", "there is no module my_package"),
        ("lost", "there is no module no_such_module"),
        ("evry:Mine", "there is no policy 'evry'; there are none, .*, mine; and of your own FILE.py:CLASS"),
        ("mine.py:", "there is no policy 'mine.py'"),
        ("object:mine", "object:mine: was made in Python, and can't be made from its name"),
    ],
)
def test_what_is_no_policy_is_told_in_one_line(text, message):
    with pytest.raises(InputError, match=message) as error:
        resolve(text)
    assert "\n" not in str(error.value)


def test_our_names_cannot_be_taken():
    assert resolve("never").sha256 == ""
    assert type(resolve("never").make()).__module__ == "agents.heuristics.fixed"
    assert list(NAMES.registered()) == ["lost", "mine"]


def test_another_source_is_refused_with_both_checksums(folder):
    plan = resolve("mine.py:Mine")
    elsewhere = pickle.loads(pickle.dumps(plan))
    assert elsewhere == plan
    assert elsewhere.make().until == 3
    (folder / "mine.py").write_text(MINE.replace("until=3", "until=5"))
    now = resolve("mine.py:Mine")
    assert now.make().until == 5
    message = f"mine.py:Mine: .* checksum {now.sha256[:16]}, .* made with {plan.sha256[:16]}; bring that source back"
    with pytest.raises(InputError, match=message):
        resolve("mine.py:Mine", sha256=plan.sha256)
    with pytest.raises(InputError, match=message):
        elsewhere.make()
    assert resolve("mine.py:Mine", sha256=now.sha256) == now


class Defined:
    """A class of this module."""

    name = "defined"

    def __init__(self, until: int = 3) -> None:
        self.until = until

    def reset(self, run, seed) -> None:
        pass

    def decide(self, observation) -> Decision:
        return Decision(replace=False)


def test_a_class_is_found_again_by_its_name(folder):
    mine = resolve("my_module:Mine").factory.code.load()
    assert resolve(mine) == resolve("my_module:Mine")
    of_file = resolve("mine.py:Mine").factory.code.load()
    assert resolve(of_file).name == f"{folder / 'mine.py'}:Mine"
    local = type("Local", (Defined,), {"__qualname__": "function.<locals>.Local"})
    with pytest.raises(InputError, match="is defined inside of a function; define it outside"):
        resolve(local)


def test_an_object_is_copied_and_known_by_its_class_and_what_it_holds():
    given = Defined(7)
    plan = resolve(given)
    made = plan.make()
    assert (plan.name, made.until) == ("object:defined", 7)
    assert made is not given
    assert plan.sha256 == resolve(Defined(7)).sha256 != resolve(Defined(8)).sha256
    given.until = lambda: 7  # which no checksum can be made of
    assert resolve(given).sha256 == ""
    with pytest.raises(InputError, match="is no policy"):
        resolve(3)


def test_an_object_of_our_classes_keeps_its_name():
    plan = resolve(Every(4))
    assert plan == resolve("every:4")
    assert plan.make().minibatches == 4
    impostor = Defined()
    impostor.name = "every:4"
    assert resolve(impostor).name == "object:every:4"


def test_the_policy_of_a_captured_run_is_not_loaded(folder):
    (folder / "mine.py").write_text("open('marker', 'w')\n" + MINE)
    plan = plan_of_past("mine.py:Mine")
    assert (plan.buffered, plan.pipelined) == (True, True)
    assert entry_of("mine.py:Mine").pipelined
    assert len(NAMES.user_code("mine.py:Mine").sha256) == 64
    with pytest.raises(InputError, match="a trace is no reason to run code"):
        plan.make()
    assert not (folder / "marker").exists()
    assert plan_of_past("every:4") == resolve("every:4")


def test_trust_is_asked_for_where_code_is_named():
    require_trust("--policy best.json", [], False)
    require_trust("--policy best.json", ["mine.py:Mine"], True)
    with pytest.raises(
        InputError, match=r"^--policy best.json: names code .* mine.py:Mine; look at it, then add --trust"
    ):
        require_trust("--policy best.json", ["mine.py:Mine"], False)
