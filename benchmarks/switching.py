"""What switching between strategies could bring: `python -m benchmarks.switching`, which writes
docs/validation/switching.md.

Reads the records of `python -m sim.benchmark`. In every cell it holds the fixed strategy that is best in hindsight
against an oracle that takes, in each epoch, the time of the strategy that was fastest in it, as if each had been
running all the while with its own warm buffer, and switching cost nothing. A real loop has to fill a buffer anew.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from sim.caches.registry import cache_class
from sim.verifier.cells import SHIPPED
from sim.verifier.records import Records

PAGE = Path("docs/validation/switching.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=Path("results/benchmark"))
    arguments = parser.parse_args()
    times: dict[tuple[str, str, str], dict[str, tuple[float, ...]]] = defaultdict(dict)
    for record in Records(arguments.records, SHIPPED).read():
        if record.sha256 or (" over " not in record.label and not cache_class(record.label).live):
            continue
        for one in record.cells:
            times[(one.cell.trace, one.cell.buffer, one.cell.scenario)][record.label] = one.epochs_s
    rows = []
    for (trace, buffer, scenario), by_strategy in times.items():
        names, epochs = list(by_strategy), np.array(list(by_strategy.values()))
        best = int(epochs.mean(1).argmin())
        gain = 1 - epochs.min(0).mean() / epochs[best].mean()
        warm = 1 - epochs[:, 1:].min(0).mean() / epochs[best, 1:].mean()
        switches = int(np.count_nonzero(np.diff(epochs.argmin(0))))
        cells = (trace, buffer, scenario, names[best], f"{gain:.1%}", f"{warm:.1%}", str(switches))
        rows.append("| " + " | ".join(cells) + " |")
    strategies = len(next(iter(times.values()), {}))
    PAGE.write_text(
        f"""# What switching between strategies could bring

**papers100m is synthetic, 1/200 of ogbn-papers100M's published shape.**

Written by `python -m benchmarks.switching` from the records of `python -m sim.benchmark`: {strategies} strategies, each
run whole. The oracle takes, epoch by epoch, the time of whichever was fastest in it, as if all had been running with
warm buffers and switching cost nothing; it is held against the fixed strategy that is best in hindsight. `gain` is by
how much its mean epoch is shorter, `after the first` the same without the first epoch, in which strategies differ by
how they fill the buffer. A loop that switches has to carry rows over or to fetch them; one that decides better than all
of these strategies do isn't bounded by this. Where links congest, faster strategies meet other epochs congested, so
that the oracle there also gains by chance.

| trace | buffer | scenario | best fixed strategy | gain | after the first | switches |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

Not looked at: popularity that drifts, buffers that must shrink, and windows shorter than an epoch.
"""
    )
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
