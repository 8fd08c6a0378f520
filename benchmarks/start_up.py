"""What it costs to begin: imports, each in a fresh process, and constructors."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from tempfile import TemporaryDirectory

import httpx

from benchmarks.measuring import Experiment, Sample, measurement
from benchmarks.subjects import KEY, OPENAI, OPENROUTER, SCOUT, chat_openai, chat_openrouter, installed
from langchain_llama_guard import ChatLlamaScout, LlamaGuard

IMPORTS = "import"
HTTPX = "httpx + pydantic"
MODEL = "… and then one pydantic model"
CORE = "… and then llama_guard_core"
FRAMEWORK = "BaseChatModel"
HALF = "… and then langchain_llama_guard"

CONSTRUCTION = "construction"
HTTPX_CLIENT = "httpx.Client"
GUARD = "LlamaGuard"

_ADDRESS = "http://127.0.0.1:9/v1"

_IMPORTS = (
    {
        HTTPX: "import httpx, pydantic",
        # Importing pydantic loads next to nothing of it; the first model loads the rest.
        MODEL: "from pydantic import BaseModel, SecretStr\nclass Settings(BaseModel): key: SecretStr",
        CORE: "import llama_guard_core",
    },
    {
        FRAMEWORK: "from langchain_core.language_models.chat_models import BaseChatModel",
        HALF: "import langchain_llama_guard",
    },
)
"""The statements of each process, by subject; each counts with those before it."""

_PEERS = {OPENAI: "langchain_openai", OPENROUTER: "langchain_openrouter"}

_TIMER = """
import sys, time
cpu, wall = time.process_time(), time.perf_counter()
for statement in sys.argv[1:]:
    exec(statement)
    print(time.process_time() - cpu, time.perf_counter() - wall)
"""


async def import_experiment(rounds: int) -> Experiment:
    """How long a fresh process takes to import each package, once that has been compiled."""
    experiment = Experiment(IMPORTS, base=FRAMEWORK)
    processes = list(_IMPORTS)
    for name, package in _PEERS.items():
        if find_spec(package):
            processes.append({name: f"import {package}"})
        else:
            experiment.missing[name] = package
    with TemporaryDirectory() as compiled:
        await experiment.run([partial(_imported, statements, compiled) for statements in processes], rounds)
    return experiment


async def _imported(statements: Mapping[str, str], compiled: str) -> Mapping[str, Sample]:
    # The first run, which does not count, compiles everybody's modules into one place, whatever was compiled before.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _TIMER, *statements.values(), stdout=PIPE, env=environment
    )
    printed, _ = await process.communicate()
    samples = [Sample(*map(float, line.split())) for line in printed.decode().splitlines()]
    return dict(zip(statements, samples, strict=True))


async def construction_experiment(rounds: int) -> Experiment:
    """How long each constructor takes, once the first object has been made."""
    makers: dict[str, Callable[[], object]] = {
        HTTPX_CLIENT: httpx.Client,
        SCOUT: lambda: ChatLlamaScout(base_url=_ADDRESS, api_key=KEY),
        GUARD: lambda: LlamaGuard(base_url=_ADDRESS, api_key=KEY),
        OPENAI: lambda: chat_openai(_ADDRESS),
        OPENROUTER: lambda: chat_openrouter(_ADDRESS),
    }
    experiment = Experiment(CONSTRUCTION, base=HTTPX_CLIENT)
    _, experiment.missing = installed(makers)
    measurements = [
        measurement(name, partial(_constructed, make), times=20)
        for name, make in makers.items()
        if name not in experiment.missing
    ]
    await experiment.run(measurements, rounds)
    return experiment


async def _constructed(make: Callable[[], object]) -> object:
    return make()
