"""Kill runs over 5,000 rows at 200 random moments, and print what came of it; `make kill-test` runs it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from killed_runs.faulty_host import FaultyHost
from killed_runs.runs import killed_at_random, run_to_its_end, write_rows


def main() -> int:
    """Run it; the exit code says whether nothing was lost, twice, or different."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--longest", type=float, default=1.6, help="seconds until a kill at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    host, undisturbed_host = FaultyHost(0.15), FaultyHost()
    with tempfile.TemporaryDirectory() as name, host.serve() as base_url, undisturbed_host.serve() as other_url:
        folder = Path(name)
        source, undisturbed = folder / "in.jsonl", folder / "undisturbed.jsonl"
        write_rows(source, options.rows)
        run_to_its_end(source, undisturbed, other_url)
        killed = killed_at_random(
            source,
            folder,
            base_url,
            kills=options.kills,
            longest=options.longest,
            seed=options.seed,
            rows=options.rows,
        )
        right = undisturbed.read_bytes()
    rows = [[json.loads(line)["row"] for line in output.splitlines()] for output in killed.outputs]
    lost = sum(options.rows - len(set(each)) for each in rows)
    twice = sum(len(each) - len(set(each)) for each in rows)
    different = sum(sorted(output.splitlines()) != sorted(right.splitlines()) for output in killed.outputs)
    asked_again = sum(host.answered.values()) - options.rows * len(rows)
    print(f"{options.rows:,} rows, killed {killed.kills} times, {len(rows)} run(s) to the end (seed {options.seed})")
    print(f"rows lost {lost}, rows twice {twice}, outputs that differ {different}, half outputs seen {killed.half}")
    again = asked_again / max(killed.kills, 1)
    print(f"answers of the host beyond one a row: {asked_again} ({again:.1f} a kill, 16 at once)")
    return int(bool(lost or twice or different or killed.half))


if __name__ == "__main__":
    sys.exit(main())
