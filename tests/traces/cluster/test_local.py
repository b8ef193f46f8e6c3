import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from traces.cluster import namespaces, shared_memory
from traces.cluster.errors import ClusterError
from traces.cluster.local import LocalCluster, run_local
from traces.errors import InputError

WORKERS = Path(__file__).with_name("workers.py")
REFUSALS = {form: namespaces.refusal(form, shaped=True) for form in ("namespaces", "userns")}
FORMS = [pytest.param(f, marks=pytest.mark.skipif(bool(r), reason=f"{f}: {r}")) for f, r in REFUSALS.items()]
needs_links = pytest.mark.skipif(all(REFUSALS.values()), reason=str(REFUSALS))


@pytest.fixture(autouse=True)
def leaves_nothing(tmp_path):
    before = found_on_host()
    yield
    assert found_on_host() <= before
    assert processes_of(tmp_path) == []


def found_on_host():
    """Mounts, interfaces, named namespaces and a job's pieces of shared memory."""
    mounts = Path("/proc/mounts").read_text().splitlines()
    paths = [*Path("/sys/class/net").iterdir(), *Path("/run/netns").glob("*"), *Path("/dev/shm").glob("*rudder-*")]
    return {*mounts, *map(str, paths)}


def processes_of(folder):
    """The command lines that name `folder`; zombies have none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in command:
            found.append(command)
    return found


def launch(part_config, tmp_path, function, arguments=None, **cluster):
    return run_local(
        LocalCluster(**{"parts": 2, "timeout_s": 600} | cluster),
        part_config,
        f"{WORKERS}:{function}",
        arguments or {},
        tmp_path / "run",
        seed=1,
    )


def check_trained(run, trainers):
    assert [value["rank"] for value in run.values] == list(range(trainers))
    assert [value["machine"] for value in run.values] == [rank * 2 // trainers for rank in range(trainers)]
    assert sum(value["train_nodes"] for value in run.values) == 2400


@pytest.mark.parametrize("form", FORMS)
def test_shaped_machines(graph_dir, part_config, tmp_path, form):
    arguments = {"features": str(graph_dir / "features.npy")}
    run = launch(part_config, tmp_path, "train", arguments, form=form, link="200mbit")
    assert run.form == form
    check_trained(run, trainers=2)
    for value, traffic in zip(run.values, run.traffic, strict=True):
        assert 0 < value["pull_bytes_per_s"] < 1.1 * 25e6
        assert traffic.received_bytes > 8e6
        assert traffic.sent_bytes > 8e6


def test_falls_back_to_loopback(graph_dir, part_config, tmp_path, monkeypatch, capsys):
    """Two servers and two trainers a machine; the work done, the trainers hang, which doesn't spoil the job."""
    monkeypatch.setattr(namespaces, "TOOLS", {"no-such-tool": "iproute2"})
    arguments = {"features": str(graph_dir / "features.npy")}
    run = launch(part_config, tmp_path, "train_then_hang", arguments, trainers_per_machine=2, servers_per_machine=2)
    assert (run.form, run.traffic) == ("loopback", None)
    assert "note: no network namespaces here" in capsys.readouterr().err
    check_trained(run, trainers=4)


@pytest.mark.parametrize(("how", "form", "returncode"), [("raise", "auto", 1), ("kill", "loopback", -signal.SIGKILL)])
def test_failed_trainer(part_config, tmp_path, how, form, returncode):
    with pytest.raises(ClusterError, match=r"trainer 1 \(machine 1\)") as raised:  # and not the time-out's message
        launch(part_config, tmp_path, "fail", {"how": how}, form=form)
    error = raised.value
    assert (error.process, error.machine, error.returncode) == ("trainer-1-0", 1, returncode)
    assert "about to fail" in error.log_lines
    assert (error.log_lines[-1] == "ValueError: a mistake of the worker") == (how == "raise")


def test_dead_server(part_config, tmp_path):
    entry = f"{WORKERS.with_name('dying_server.py')}:main"
    with pytest.raises(ClusterError, match=r"server 1 \(machine 1\) was killed by SIGALRM") as raised:
        run_local(LocalCluster(parts=2, timeout_s=600), part_config, entry, {}, tmp_path / "run")
    assert raised.value.process == "server-1-0"


def test_time_out(part_config, tmp_path):
    with pytest.raises(ClusterError, match=r"not done after 8 s: trainer 0 \(machine 0\), trainer 1") as raised:
        launch(part_config, tmp_path, "sleep", timeout_s=8)
    assert (raised.value.process, raised.value.returncode) == ("trainer-0-0", None)


@pytest.mark.parametrize(("form", "how"), [("auto", signal.SIGINT), ("loopback", signal.SIGKILL)])
def test_signal_to_the_launcher(part_config, tmp_path, wait_until, form, how):
    code = (
        "import sys; from pathlib import Path; from traces.cluster.local import LocalCluster, run_local;"
        "config, entry, run_dir, form = sys.argv[1:];"
        "run_local(LocalCluster(parts=2, form=form), Path(config), entry, {}, Path(run_dir))"
    )
    command = [sys.executable, "-c", code, str(part_config), f"{WORKERS}:sleep", str(tmp_path / "run"), form]
    launcher = subprocess.Popen(command, stderr=subprocess.PIPE)
    logs = [tmp_path / "run" / f"trainer-{machine}-0.log" for machine in range(2)]
    wait_until(lambda: all(log.exists() and "asleep" in log.read_text() for log in logs))
    launcher.send_signal(how)
    launcher.communicate(timeout=600)
    assert launcher.returncode != 0
    wait_until(lambda: not processes_of(tmp_path))


def test_loopback_cannot_shape(part_config, tmp_path):
    with pytest.raises(InputError, match="link 200mbit: a link can only be shaped with network namespaces"):
        launch(part_config, tmp_path, "train", form="loopback", link="200mbit")


def test_missing_tools_are_named(part_config, tmp_path, monkeypatch):
    monkeypatch.setattr(namespaces, "TOOLS", {"no-such-tool": "iproute2"})
    for cluster in ({"form": "namespaces"}, {"form": "userns"}, {"link": "1gbit"}):
        with pytest.raises(InputError, match="no-such-tool is missing: install iproute2"):
            launch(part_config, tmp_path, "train", **cluster)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"parts": 3}, "has 2 parts, the cluster has 3"),
        ({"parts": 0}, "parts is 0"),
        ({"trainers_per_machine": -1}, "trainers_per_machine is -1"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"link": "0mbit"}, "link rate"),
        ({"form": "docker"}, "form 'docker'"),
    ],
)
def test_bad_clusters(part_config, tmp_path, wrong, message):
    with pytest.raises(InputError, match=message):
        launch(part_config, tmp_path, "train", **wrong)


@needs_links
def test_folders_that_machines_do_not_see(part_config):
    with pytest.raises(InputError, match="has a /dev/shm of its own"):
        run_local(LocalCluster(parts=2), part_config, f"{WORKERS}:train", {}, Path("/dev/shm/run"))


def test_container_with_little_shared_memory(part_config, tmp_path, monkeypatch):
    monkeypatch.setattr(shared_memory.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    with pytest.raises(InputError, match="has 1 MB free, the partitions need 3 MB"):
        launch(part_config, tmp_path, "train", form="loopback")


def test_no_such_entry(part_config, tmp_path):
    with pytest.raises(InputError, match=r"there is no file nowhere\.py"):
        run_local(LocalCluster(parts=2), part_config, "nowhere.py:main", {}, tmp_path / "run")


def test_no_partition(tmp_path):
    with pytest.raises(InputError, match="is no partition"):
        launch(tmp_path / "nothing.json", tmp_path, "train")
