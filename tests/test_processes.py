"""How processes are started: afresh, or forked off one that has used no library with threads of its own."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("traces", "agents", "sim", "replay", "benchmarks")
FORKS = {"traces/cluster/children.py", "sim/verifier/template.py"}
"""Fork the servers and trainers of a job, off a process that has imported torch and dgl; and candidates' processes, off
one that has imported numpy and the contract, and has one thread."""

USED = ("polars", "pyarrow", "numba")
"""Libraries whose threads a forked process would wait for."""


def forks(call):
    """Whether a call may fork this process."""
    name, keywords = ast.unparse(call.func), {one.arg for one in call.keywords}
    if name.endswith("get_context"):
        return [ast.unparse(one) for one in call.args] != ["'spawn'"]
    if name.endswith("ProcessPoolExecutor"):
        return "mp_context" not in keywords
    return name in ("os.fork", "multiprocessing.Process", "multiprocessing.Pool") or "preexec_fn" in keywords


def test_nothing_else_is_forked():
    found = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        found |= {str(path.relative_to(ROOT)) for call in calls if forks(call)}
    assert found == FORKS


def test_what_jobs_are_forked_off_has_no_such_library():
    code = "import sys, traces.cluster.zygote, traces.cluster.host; from traces.cluster.children import import_once"
    code += f"; import_once(); sys.exit(repr([one for one in {USED} if one in sys.modules]))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == "[]"
