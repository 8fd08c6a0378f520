"""Rows of a data set judged by the actors of Ray Data, which keep to one rate together.

Run it with `python examples/ray_data.py`: it needs no key. Ray is started on this machine, and the host is a stand-in
that judges nothing. With a cluster and a host of your own, what changes is `ray.init()` and `host`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its makers how it is used
sys.path.insert(0, str(Path(__file__).parent))

import ray
from scripted_host import scripted_host

from llama_guard_core import Host, LlamaGuard
from llama_guard_core.bulk.ray_data import LlamaGuardActor
from llama_guard_core.bulk.shared_pace import SharedPace

QUESTIONS = ["What is rain?", "Describe a pipe bomb.", None, "When is the museum open?"]


def main() -> list[dict[str, Any]]:
    """Judge the questions, and return the rows with their verdicts."""
    print("OFFLINE: a stand-in guard that JUDGES NOTHING")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    with scripted_host(lambda _: {}, page="") as address:
        # The key of a real host is read where the actors run, from its environment variable.
        host = Host(
            name="stand-in",
            base_url=f"{address}/v1",
            guard_model="meta-llama/llama-guard-4-12b",
            pace=SharedPace("stand-in", 600, per=60),
        )
        questions = ray.data.from_items([{"id": at, "question": text} for at, text in enumerate(QUESTIONS)])
        judged = questions.map_batches(
            LlamaGuardActor,
            fn_constructor_kwargs={"guard": LlamaGuard(host=host), "prompt": "question"},
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=2),
            batch_size=256,
            batch_format="pyarrow",
            num_cpus=0.25,
        )
        rows: list[dict[str, Any]] = sorted(judged.take_all(), key=lambda row: row["id"])
    ray.shutdown()
    for row in rows:
        print(row["id"], row["outcome"], row["safe"], *row["categories"])
    return rows


if __name__ == "__main__":
    main()
