"""What it costs to begin: imports, each in a fresh process, and constructors."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Mapping, Sequence
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

IMPORTS_LLAMA_INDEX = "import (LlamaIndex)"
LLAMA_INDEX = "llama_index.core"
LLAMA_INDEX_HTTPX = "… and then httpx"
LLAMA_INDEX_HALF = "… and then llamaindex_llama_guard"
LLAMA_INDEX_OPENROUTER = "llama_index.llms.openrouter"

CONSTRUCTION = "construction"
HTTPX_CLIENT = "httpx.Client"
GUARD = "LlamaGuard"

_ADDRESS = "http://127.0.0.1:9/v1"

_Process = tuple[str, Mapping[str, str]]
"""The package that a process needs, and its statements by subject; each counts with those before it."""

_LANGCHAIN_PROCESSES: tuple[_Process, ...] = (
    (
        "httpx",
        {
            HTTPX: "import httpx, pydantic",
            # Importing pydantic loads next to nothing of it; the first model loads the rest.
            MODEL: "from pydantic import BaseModel, SecretStr\nclass Settings(BaseModel): key: SecretStr",
            CORE: "import llama_guard_core",
        },
    ),
    (
        "langchain_core",
        {
            FRAMEWORK: "from langchain_core.language_models.chat_models import BaseChatModel",
            HALF: "import langchain_llama_guard",
        },
    ),
    ("langchain_openai", {OPENAI: "import langchain_openai"}),
    ("langchain_openrouter", {OPENROUTER: "import langchain_openrouter"}),
)
_LLAMA_INDEX_PROCESSES: tuple[_Process, ...] = (
    (
        "llama_index.core",
        {
            LLAMA_INDEX: "import llama_index.core",
            # Loads its command line too where rich is installed, which takes most of its time.
            LLAMA_INDEX_HTTPX: "import httpx",
            LLAMA_INDEX_HALF: "import llamaindex_llama_guard",
        },
    ),
    ("llama_index.llms.openrouter", {LLAMA_INDEX_OPENROUTER: "import llama_index.llms.openrouter"}),
)

_TIMER = """
import sys, time
def peak():  # not getrusage: its figure begins with the memory of the process that started this one
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except OSError:
        return ""
cpu, wall = time.process_time(), time.perf_counter()
for statement in sys.argv[1:]:
    exec(statement)
    print(time.process_time() - cpu, time.perf_counter() - wall, peak())
"""


async def import_experiments(rounds: int) -> list[Experiment]:
    """What a fresh process takes to import each package, once that has been compiled, beside either framework."""
    return [
        await _import_experiment(Experiment(IMPORTS, base=FRAMEWORK), _LANGCHAIN_PROCESSES, rounds),
        await _import_experiment(Experiment(IMPORTS_LLAMA_INDEX, base=LLAMA_INDEX), _LLAMA_INDEX_PROCESSES, rounds),
    ]


async def _import_experiment(experiment: Experiment, processes: Sequence[_Process], rounds: int) -> Experiment:
    run = []
    for package, statements in processes:
        if _is_installed(package):
            run.append(statements)
        else:
            experiment.missing.update(dict.fromkeys(statements, package))
    with TemporaryDirectory() as compiled:
        await experiment.run([partial(_imported, statements, compiled) for statements in run], rounds)
    return experiment


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # what it would lie in
        return False


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
