"""Rows judged by actors of Ray Data: in this process what one actor does, and on a local Ray what several do together."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_provider import FakeProvider, Fault

from llama_guard_core import Host, LlamaGuard, Pace
from llama_guard_core.bulk.ray_data import LlamaGuardActor, judgement_schema
from llama_guard_core.bulk.shared_pace import SharedPace
from llama_guard_core.errors import ConfigurationError, GuardUnavailable

pa = pytest.importorskip("pyarrow", exc_type=ImportError)
ROOT = Path(__file__).parents[3]
SAYS = {"PROSE": "I would rather not say.", "DOWN": Fault.status(400), "REFUSED": Fault.status(401)}


def judge(_: str, text: str) -> str | Fault:
    return next((said for word, said in SAYS.items() if word in text), "unsafe\nS9" if "BOMB" in text else "safe")


@pytest.fixture
def provider():
    return FakeProvider(guard=judge)


def actor(provider: FakeProvider, host: Host | None = None, deadline: float = 60.0, **settings) -> LlamaGuardActor:
    client = provider.async_client()
    make = partial(LlamaGuard, api_key="k", host=host, http_async_client=client, deadline=deadline)
    return LlamaGuardActor(make, **settings)


async def test_rows_come_back_in_order_with_their_verdicts_beside_them(provider):
    batch = pa.table({"text": ["a BOMB", "b", "c BOMB"], "id": [7, 8, 9]})

    judged = await actor(provider)(batch)

    assert [7, 8, 9] == judged["id"].to_pylist()
    assert [False, True, False] == judged["safe"].to_pylist()
    assert [["S9"], [], ["S9"]] == judged["categories"].to_pylist()
    assert {"judged"} == set(judged["outcome"].to_pylist())


async def test_a_row_without_a_verdict_is_not_safe_says_why_and_stops_nothing(provider):
    batch = pa.table({"prompt": ["PROSE", "DOWN", None, "d"]})

    judged = await actor(provider)(batch)

    assert [None, None, None, True] == judged["safe"].to_pylist()
    assert ["unreadable", "unavailable", "not_judgeable", "judged"] == judged["outcome"].to_pylist()
    assert ["unreadable", "invalid_request", "not_judgeable", None] == judged["reason"].to_pylist()
    assert ["prompt", "prompt", None, "prompt"] == judged["stage"].to_pylist()


@pytest.mark.parametrize("texts", [["a BOMB", "b"], ["PROSE", "DOWN"], []])
async def test_every_batch_has_the_same_types(provider, texts):
    batch = pa.table({"prompt": pa.array(texts, pa.string())})

    judged = await actor(provider)(batch)

    assert [*batch.schema, *judgement_schema()] == list(judged.schema)
    assert pa.bool_() == judged.schema.field("safe").type
    assert pa.list_(pa.string()) == judged.schema.field("categories").type
    assert pa.float64() == judged.schema.field("score").type


async def test_columns_go_by_name_and_conversations_may_be_nested(provider):
    talk = [{"role": "user", "content": "a BOMB", "tool_calls": None}, {"role": "assistant", "content": "no"}]

    await actor(provider, prompt="question", reply="answer")(pa.table({"question": ["q"], "answer": ["a"]}))
    judged = await actor(provider)(pa.table({"messages": [talk]}))

    assert ["reply"] == judged["stage"].to_pylist()
    assert [("assistant", "a"), ("assistant", "no")] == [(asked.role, asked.text) for asked in provider.guard_questions]


@pytest.mark.parametrize(
    ("batch", "settings", "said"),
    [
        (pa.table({"prompt": ["a"]}), {"prompt": "question"}, "there is no column question"),
        (pa.table({"other": ["a"]}), {}, "no column is known to hold what is to be judged"),
        (pa.table({"prompt": ["a"], "safe": [1]}), {}, "Give a prefix"),
        ({"prompt": ["a"]}, {}, 'batch_format="pyarrow"'),
    ],
)
async def test_a_wrong_setting_says_what_is_wrong(provider, batch, settings, said):
    with pytest.raises(ConfigurationError, match=said):
        await actor(provider, **settings)(batch)


def test_at_least_one_check_has_to_be_under_way(provider):
    with pytest.raises(ConfigurationError, match="concurrency"):
        actor(provider, concurrency=0)


async def test_names_of_the_data_are_left_alone_beside_a_prefix(provider):
    judged = await actor(provider, prefix="guard_")(pa.table({"prompt": ["a"], "safe": ["mine"]}))

    assert (["mine"], [True]) == (judged["safe"].to_pylist(), judged["guard_safe"].to_pylist())


async def test_a_refused_key_stops_everything(provider):
    with pytest.raises(GuardUnavailable) as stopped:
        await actor(provider)(pa.table({"prompt": ["a", "REFUSED"]}))

    assert "authentication" == stopped.value.reason


async def test_a_row_waits_for_its_turn_beyond_the_deadline_of_a_check(provider):
    """Of ten rows that are begun at once, the pace has turns for three within the deadline."""
    host = Host.named("openrouter", pace=Pace(10))

    judged = await actor(provider, host, deadline=0.25)(pa.table({"prompt": [f"a {at}" for at in range(10)]}))

    assert ["judged"] * 10 == judged["outcome"].to_pylist()
    assert 10 == len(provider.guard_questions)


def test_without_ray_a_shared_pace_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(ConfigurationError, match=r'pip install "llama-guardrails\[ray\]"'):
        SharedPace("test", 1)


# What follows is done by one program on one local Ray, which takes its time to start.

RATE = 40
DRIVER = """
import json, os, sys, time
import ray
from llama_guard_core import Host, LlamaGuard
from llama_guard_core.bulk.ray_data import LlamaGuardActor
from llama_guard_core.bulk.shared_pace import SharedPace

base_url, folder, rate = sys.argv[1:]
MODEL = "meta-llama/llama-guard-4-12b"
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
ray.data.DataContext.get_current().enable_progress_bars = False
done = {}

def host(**settings):
    return Host(**{"name": "h", "base_url": base_url, "api_key_env": "HOST_KEY", "guard_model": MODEL, **settings})

def mapped(texts, guard, blocks=4):
    data = ray.data.from_items([{"id": at, "prompt": text} for at, text in enumerate(texts)], override_num_blocks=blocks)
    return data.map_batches(
        LlamaGuardActor,
        fn_constructor_kwargs={"guard": guard, "concurrency": 8},
        compute=ray.data.ActorPoolStrategy(size=2),
        batch_size=10,
        batch_format="pyarrow",
        num_cpus=0.5,
    ).materialize()

def failing(guard):
    try:
        mapped(["NOT SENT"], guard, 1)
    except Exception as error:
        return str(error)

class DiesOnce:
    def __call__(self, verdict):
        try:
            open(os.path.join(folder, "died"), "x")
        except FileExistsError:
            return
        os._exit(1)

guard = LlamaGuard(host=host(pace=SharedPace("job", 1000)), on_verdict=DiesOnce())
judged = mapped([f"job {at}" + " BOMB" * (at % 3 == 0) + " PROSE" * (at % 10 == 1) for at in range(80)], guard)
done["schema"] = {name: str(kind) for name, kind in zip(judged.schema().names, judged.schema().types)}
done["rows"] = judged.take_all()
done["died"] = os.path.exists(os.path.join(folder, "died"))

done["no_key"] = failing(LlamaGuard(api_key="sk-not-to-be-seen", host=host(api_key_env="ANOTHER_KEY")))

def paced():
    guard = LlamaGuard(host=host(pace=SharedPace("together", float(rate))))
    return ray.remote(LlamaGuardActor).options(num_cpus=0).remote(guard, concurrency=8)

def batch(name, rows):
    import pyarrow
    return pyarrow.table({"prompt": [f"{name} {at}" for at in range(rows)]})

leaving, staying = paced(), paced()
ray.get([each.__ray_ready__.remote() for each in (leaving, staying)])
done["began"] = time.monotonic()
staying_on = staying.__call__.remote(batch("paced staying", 100))
begun = [leaving.__call__.remote(batch(name, rows)) for name, rows in (("paced first", 40), ("paced unfinished", 200))]
ray.get(begun[0])
ray.kill(leaving)
coming = paced()
together = [staying_on, coming.__call__.remote(batch("paced coming", 30))]
done["paced"] = [row for each in ray.get(together) for row in each["outcome"].to_pylist()]

try:
    SharedPace("together", 1).turn()
except Exception as error:
    done["other_numbers"] = f"{type(error).__name__}: {error}"
SharedPace("together", 1).end()
done["after_the_end"] = SharedPace("together", 1).turn()
with open(os.path.join(folder, "done.json"), "w") as file:
    json.dump(done, file)
"""


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory):
    """What the program says, and what the host was asked and when."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs Ray")
    came = []

    def noted(role: str, text: str) -> str | Fault:
        came.append((time.monotonic(), text))
        return judge(role, text)

    provider = FakeProvider(guard=noted)
    home = tmp_path_factory.mktemp("ray")
    environment = {**os.environ, "HOST_KEY": "k", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    with provider.serve() as base_url:
        command = [sys.executable, "-W", "ignore", "-c", DRIVER, base_url, str(home), str(RATE)]
        ran = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
    assert 0 == ran.returncode, ran.stderr
    assert [] == provider.violations
    return SimpleNamespace(came=sorted(came), **json.loads((home / "done.json").read_text()))


def _asked(on_ray, what: str) -> list[float]:
    return [at for at, text in on_ray.came if text.startswith(what)]


def test_each_row_of_a_data_set_has_one_verdict_although_an_actor_died(on_ray):
    by_id = sorted(on_ray.rows, key=lambda row: row["id"])

    assert on_ray.died
    assert list(range(80)) == [row["id"] for row in by_id]
    assert [None if at % 10 == 1 else at % 3 != 0 for at in range(80)] == [row["safe"] for row in by_id]
    assert {"judged": 72, "unreadable": 8} == Counter(row["outcome"] for row in by_id)


def test_the_columns_of_a_data_set_are_typed(on_ray):
    types = {field.name: str(field.type).replace("element:", "item:") for field in judgement_schema()}

    assert {"id": "int64", "prompt": "string", **types} == on_ray.schema


def test_a_job_without_a_key_is_stopped_by_its_own_message(on_ray):
    assert "ConfigurationError" in on_ray.no_key
    assert "ANOTHER_KEY" in on_ray.no_key
    assert "sk-not-to-be-seen" not in on_ray.no_key
    assert "NOT SENT" not in on_ray.no_key
    assert [] == _asked(on_ray, "NOT SENT")


def test_actors_that_come_and_go_keep_to_one_rate_together(on_ray):
    """However slow this machine is: no request comes before as many turns have passed as there are before it."""
    came = _asked(on_ray, "paced ")

    assert ["judged"] * 130 == on_ray.paced
    assert (40, 100, 30) == tuple(len(_asked(on_ray, f"paced {who} ")) for who in ("first", "staying", "coming"))
    assert [] == [at for number, at in enumerate(came) if at < on_ray.began + number / RATE]


def test_a_name_stands_for_one_pace_until_that_is_ended(on_ray):
    assert on_ray.other_numbers.startswith("ConfigurationError: the cluster has a pace 'together' already, Pace(40,")
    assert 0.0 == on_ray.after_the_end
