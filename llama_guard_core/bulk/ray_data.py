"""Bulk moderation on more than one machine: a stateful actor for Ray Data's `Dataset.map_batches`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from llama_guard_core.bulk.columns import Columns
from llama_guard_core.bulk.image_files import ImageFiles
from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.moderation import STOPS_THE_RUN
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun_all
from llama_guard_core.errors import ConfigurationError, GuardUnavailable, RateLimited
from llama_guard_core.guardrail.screening import Check, Flow
from llama_guard_core.guardrail.verdict import Verdict

_PAUSE = 1.0  # seconds until the pace is asked again whether it has a turn in time


class LlamaGuardActor:
    """Judges the rows of batches, in an actor of Ray Data that holds one guard and its connections.

    ```python
    import ray
    from llama_guard_core import Host, LlamaGuard
    from llama_guard_core.bulk.ray_data import LlamaGuardActor
    from llama_guard_core.bulk.shared_pace import SharedPace

    guard = LlamaGuard(host=Host.named("groq", pace=SharedPace("groq", 30, per=60)))
    judged = ray.data.read_parquet("chats").map_batches(
        LlamaGuardActor,
        fn_constructor_kwargs={"guard": guard, "prompt": "question", "concurrency": 4},
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=8),
        batch_size=256,
        batch_format="pyarrow",
        num_cpus=0.25,
    )
    judged.write_parquet("judged")
    ```

    A batch comes back with the columns of `judgement_schema`, of the same types in every batch. A row without a verdict
    has `safe` null, and an `outcome` and a `reason` that say why; it stops nothing. For a turn of the host's `pace` a
    row waits as long as it takes. What would fail for every row stops the job, with its own message inside Ray's: no
    key or a refused one, no credit, a wrong setting, a column that is not there.

    Ray repeats the batches of an actor that died: their rows may be asked about again, and still have one verdict each.
    What rows hold is in Ray's object store, and on disk when that is full.

    Args:
        guard: the guard, or a function without arguments that makes it where the actor runs. A guard travels as a
            pickle, which holds no key: the key is read from the environment of the actor. A key that is written into a
            function or a `partial` does travel.
        prompt: the column that holds what a user says; see `Columns` for this and the following. What is left out is
            looked for by its usual name.
        reply: the column that holds what was answered.
        messages: the column that holds whole conversations.
        image: the column that holds pictures.
        images: the folder that pictures' paths lead from, the same on every machine; left out, no path is read.
        concurrency: checks under way at once in each actor.
        prefix: what the names of the added columns begin with, where the data has columns of such names itself.

    Raises:
        ConfigurationError: a setting is wrong.
    """

    def __init__(
        self,
        guard: LlamaGuard | Callable[[], LlamaGuard] = LlamaGuard,
        *,
        prompt: str | None = None,
        reply: str | None = None,
        messages: str | None = None,
        image: str | None = None,
        images: str | Path | None = None,
        concurrency: int = 32,
        prefix: str = "",
    ) -> None:
        if concurrency < 1:
            msg = "concurrency: at least 1 check has to be under way"
            raise ConfigurationError(msg)
        self._guard = guard if isinstance(guard, LlamaGuard) else guard()
        self._given = {"prompt": prompt, "reply": reply, "messages": messages, "image": image}
        self._images = ImageFiles(images, self._guard.images)
        self._slots = asyncio.Semaphore(concurrency)  # Ray gives an actor several batches at once
        self._prefix = prefix

    async def __call__(self, batch: Any) -> Any:
        """Judge the rows of a batch.

        Args:
            batch: a `pyarrow.Table`.

        Returns:
            The same rows, in their order, with the columns of `judgement_schema` besides.

        Raises:
            ConfigurationError: if nothing can be judged, for want of a key or because of a wrong setting.
            GuardUnavailable: if the host refuses the account.
        """
        columns = Columns.found(_names_in(batch), **self._given, keep=())
        rows = batch.select(columns.names).to_pylist()
        flows = [self._judged(at, row, columns) for at, row in enumerate(rows)]
        judgements = await arun_all(flows, self._verdict, at_once=max(1, len(flows)))
        return _beside(batch, judgements, self._prefix)

    def _judged(self, at: int, row: dict[str, Any], columns: Columns) -> Flow[Judgement]:
        stage = None
        try:
            check = columns.check_of(row, self._images)
            stage = check.stage
            verdict = yield check
        except GuardUnavailable as error:
            if error.reason in STOPS_THE_RUN:
                raise
            return Judgement.of(at, error, stage=stage)
        return Judgement.of(at, verdict, stage=stage)

    async def _verdict(self, check: Check) -> Verdict:
        async with self._slots:
            while True:
                try:
                    return await self._guard.ajudge(check)
                except GuardUnavailable as error:
                    if not _waits_for_its_turn(error):
                        raise
                await asyncio.sleep(_PAUSE)


def judgement_schema(prefix: str = "") -> Any:
    """What is added to each row: the attributes of `Judgement` from `outcome` on, as a `pyarrow.Schema`.

    Args:
        prefix: what each name begins with.
    """
    import pyarrow as pa  # noqa: PLC0415 - comes with Ray Data, and slow to load

    types = {
        **dict.fromkeys(("safe", "all_named", "cached"), pa.bool_()),
        **dict.fromkeys(("input_tokens", "output_tokens"), pa.int64()),
        **dict.fromkeys(("score", "cost", "latency"), pa.float64()),
        "categories": pa.list_(pa.string()),
    }
    return pa.schema([(f"{prefix}{name}", types.get(name, pa.string())) for name in _added()])


def _added() -> list[str]:
    return [each.name for each in fields(Judgement) if each.name not in ("row", "kept")]


def _names_in(batch: Any) -> Sequence[str]:
    import pyarrow as pa  # noqa: PLC0415 - as above

    if not isinstance(batch, pa.Table):
        msg = 'LlamaGuardActor takes Arrow tables: map_batches(..., batch_format="pyarrow")'
        raise ConfigurationError(msg)
    names: list[str] = batch.column_names
    return names


def _beside(batch: Any, judgements: Sequence[Judgement], prefix: str) -> Any:
    """The batch with a column more for each attribute of a judgement."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    schema, said = judgement_schema(prefix), [each.as_dict() for each in judgements]
    if taken := sorted(set(schema.names) & set(batch.column_names)):
        msg = f"the data has columns of these names itself: {', '.join(taken)}. Give a prefix"
        raise ConfigurationError(msg)
    for column, name in zip(schema, _added(), strict=True):
        batch = batch.append_column(column, pa.array([each[name] for each in said], column.type))
    return batch


def _waits_for_its_turn(error: GuardUnavailable) -> bool:
    """Whether our own `pace` let nothing be sent. A host that is at its limit says so, with a status."""
    cause = error.__cause__
    return isinstance(cause, RateLimited) and cause.status is None and not cause.retryable
