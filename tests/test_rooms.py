"""Who may import whom: rooms know only what stands below them, and packages only what stands to their left."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FLOORS = [
    ("sim.compiled", "sim.config_files"),
    ("sim.workload",),
    ("sim.caches",),
    ("sim.config",),
    ("sim.cluster", "sim.engine"),
    ("sim.counts",),
    ("sim.cost",),
    ("sim.simulation",),
    ("sim.calibration",),
    ("sim.runs",),
    ("sim.verifier",),
    ("sim.sweeps",),
    ("sim.figures",),
    ("sim.reports",),
    ("sim", "sim.run", "sim.judge", "sim.sweep", "sim.tune", "sim.calibrate", "sim.report", "sim.benchmark"),
]
"""From the ground up. Rooms of one floor don't know each other."""

PACKAGES = ["traces", "agents", "sim", "replay"]
LIVE = ["replay.loader", "replay.buffered", "replay.dispatch", "replay.agent_process", "replay.worker"]
"""What runs inside a training job."""

TIMED = ("sim.cost", "sim.engine", "sim.simulation", "sim.calibration")
"""Rooms that live code has no use for."""


def modules(package):
    return [(path, ".".join(path.relative_to(ROOT).with_suffix("").parts)) for path in (ROOT / package).rglob("*.py")]


def imported(path):
    """Modules that a file imports anywhere, also inside functions; those for type checkers only are left out."""
    tree = ast.parse(path.read_text())
    unseen = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{one.name}" for one in node.names)


def floor_of(module):
    """The floor of a module of `sim`: that of the longest name that it begins with."""
    names = {name: height for height, floor in enumerate(FLOORS) for name in floor}
    found = max((name for name in names if f"{module}.".startswith(f"{name}.")), key=len)
    return names[found], found


@pytest.mark.parametrize(("path", "module"), modules("sim"), ids=lambda value: value if isinstance(value, str) else "")
def test_rooms_import_what_stands_below_them(path, module):
    height, room = floor_of(module.removesuffix(".__init__").removesuffix(".__main__"))
    for name in imported(path):
        if name.startswith("sim."):
            below, other = floor_of(name)
            assert below < height or other == room, f"{module} ({room}) imports {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_what_stands_to_their_left(package):
    later = PACKAGES[PACKAGES.index(package) + 1 :]
    for path, module in modules(package):
        for name in imported(path):
            assert name.partition(".")[0] not in later, f"{module} imports {name}"


@pytest.mark.parametrize("module", LIVE)
def test_live_code_needs_no_model_of_time(module):
    files = {name: path for package in PACKAGES for path, name in modules(package)}
    seen, left = set(), [module]
    while left:
        name = left.pop()
        name = name if name in files else name.rpartition(".")[0]  # a name inside of a module
        if name in files and name not in seen:
            seen.add(name)
            left += imported(files[name])
    assert len(seen) > 3
    assert not [name for name in seen if name.startswith(TIMED)]


def test_a_room_says_what_is_in_it_and_nothing_else():
    rooms = [path.parent for path in (ROOT / "sim").glob("*/__init__.py")]
    assert len(rooms) >= 12
    for room in rooms:
        tree = ast.parse((room / "__init__.py").read_text())
        assert ast.get_docstring(tree), room
        listed = [node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
        assert len(listed) == 1, room
        if room.name != "figures":  # whose face is its functions
            assert len(tree.body) == 2, room
            there = {one.stem for one in room.glob("*.py")} - {"__init__", "__main__"}
            there |= {one.parent.name for one in room.glob("*/__init__.py")}
            assert set(ast.literal_eval(listed[0].value)) == there, room


def test_sim_has_no_flat_module_but_commands():
    flat = {path.stem for path in (ROOT / "sim").glob("*.py")}
    commands = {"run", "sweep", "judge", "tune", "calibrate", "report", "benchmark"}
    assert flat == {"__init__", "config", "compiled", "config_files"} | commands
