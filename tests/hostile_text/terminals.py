"""What a terminal acts on: in no error, log, refusal or report, wherever a host or an application has put it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import random
from collections.abc import Iterable, Iterator
from typing import Any
from unittest.mock import patch

import httpx
from pydantic import ValidationError

from hostile_text.counting import Row, cases_of
from hostile_text.junk import with_controls
from llama_guard_core import LlamaGuard, Policy
from llama_guard_core.__main__ import main
from llama_guard_core.errors import LlamaGuardError
from llama_guard_core.guardrail.custom_categories import CustomCategory
from llama_guard_core.guardrail.decisions import unsafe_content
from llama_guard_core.guardrail.hazards import HazardCategory
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.provider.endpoints import CHAT
from llama_guard_core.provider.failures import failure_from_response
from llama_guard_core.provider.responses import StreamedReply

_MODEL = "meta-llama/llama-guard-4-12b"


def rows(seed: int, cases: int) -> list[Row]:
    """Errors of hosts, verdicts, refusals, and the command line."""
    few = max(1, cases // 20)
    return [
        _errors(seed, cases),
        _verdicts(seed, cases),
        _refusals(seed, cases),
        _reports(seed, few),
        _command(seed, few),
    ]


def acting(text: str) -> str:
    """The characters of a text that act on a terminal, or are not seen on it; line feeds are a table's own."""
    return "".join(letter for letter in text if not letter.isprintable() and letter != "\n")


def _check(row: Row, texts: Iterable[object], what: object) -> None:
    found = "".join(acting(str(text)) for text in texts)
    if found:
        row.wrong("raw controls", (found, what))
    row.outcomes["printable" if not found else "not printable"] += 1


def _errors(seed: int, cases: int) -> Row:
    """An error in each shape that hosts have, by status and in a body with status 200, whole and in a stream."""
    row = Row("error of a host")
    for chance, _ in cases_of(row.name, seed, cases):
        said = with_controls(chance, "the host is far too busy now")
        body = json.dumps(chance.choice(_shapes(said))).encode()
        headers = {"x-generation-id": with_controls(chance, "gen 1"), "retry-after": with_controls(chance, "1 2")}
        error: Exception | None = None
        with row.case(body, typed=()), contextlib.suppress(LlamaGuardError):
            error = failure_from_response(chance.choice([400, 401, 403, 429, 500]), headers, body)
            _check(row, _told_by(error), body)
            for read in (_whole, _streamed):
                with contextlib.suppress(LlamaGuardError):
                    read(body)
                    row.outcomes["no error"] += 1
                try:
                    read(body)
                except LlamaGuardError as raised:
                    _check(row, _told_by(raised), body)
    return row


def _shapes(said: str) -> list[Any]:
    metadata = {"raw": json.dumps({"error": {"message": said}}), "provider_name": said, "error_type": said}
    return [
        {"error": {"code": 429, "message": said, "metadata": metadata}},
        {"error": {"code": said, "message": "Provider returned error", "type": said, "metadata": metadata}},
        {"error": said},
        {"detail": [{"loc": [said, said], "msg": said}]},
        {"message": said, "object": "error"},
        {"errors": [{"message": said}], "id": said},
        {"choices": [{"error": {"message": said}, "delta": {}}], "provider": said, "id": said},
        {"choices": [{"message": {"content": ""}, "finish_reason": said}], "provider": said, "model": said},
        {"choices": [{"message": {"content": ""}, "finish_reason": "length"}], "provider": said, "id": said},
        said,
    ]


def _whole(body: bytes) -> None:
    CHAT.read(body, 0.0)


def _streamed(body: bytes) -> None:
    reply = StreamedReply(200, {}, None)
    reply.receive(b"data: " + body + b"\n\ndata: [DONE]\n\n")
    reply.end()


def _told_by(error: Exception) -> list[object]:
    """All that is told of an error: its words, and the attributes that are texts."""
    return [str(error), *(value for value in vars(error).values() if isinstance(value, str))]


def _verdicts(seed: int, cases: int) -> Row:
    """What a verdict, its failure and the log say of a host whose every name acts on a terminal."""
    row = Row("verdict of a host")
    with logged() as log:
        for chance, _ in cases_of(row.name, seed, cases):
            name = with_controls(chance, f"{_MODEL} x")
            choice = {
                "message": {"content": chance.choice(_answers(chance))},
                "finish_reason": chance.choice(["stop", name]),
            }
            body = {"id": name, "model": chance.choice([name, _MODEL]), "provider": name, "choices": [choice]}
            guard = _guard(body)
            with row.case(body, typed=()):
                try:
                    verdict = guard.check("Hi")
                    told: list[Any] = [
                        verdict,
                        verdict.model,
                        verdict.provider,
                        verdict.generation_id,
                        *_texts(verdict),
                    ]
                except LlamaGuardError as error:
                    told = [str(error), repr(error), *_told_by(error)]
                _check(row, [*told, *log], body)
            log.clear()
    return row


def _answers(chance: random.Random) -> list[str]:
    return [
        "safe",
        "unsafe\nS1",
        with_controls(chance, "unsafe S1 S9"),
        with_controls(chance, "safe or so"),
        "unsafe\nS77",
    ]


def _texts(verdict: Verdict) -> Iterator[str]:
    yield from map(str, verdict.categories)
    yield json.dumps(verdict.as_dict(), ensure_ascii=False)


def _guard(body: Any, **settings: Any) -> LlamaGuard:
    client = httpx.Client(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=json.dumps(body).encode()))
    )
    return LlamaGuard(api_key="sk-or-v1-terminal", max_retries=0, http_client=client, cache=False, **settings)


def _refusals(seed: int, cases: int) -> Row:
    """Names of an application's own categories: such as act on a terminal are not taken, and are in no exception."""
    row = Row("names of categories and settings")
    for chance, _ in cases_of(row.name, seed, cases):
        name = with_controls(chance, "rude talk")
        with row.case(name, typed=(ValidationError,)):
            refusal = f"No {CustomCategory(name=name).name}."
            _check(row, [refusal], name)
        with row.case(name, typed=()):
            verdict = Verdict(safe=False, categories=(HazardCategory("C1", name, 4),), stage=Stage.REPLY)
            _check(row, [unsafe_content(verdict, "No.")], name)
        for setting in ({"hazards": {name: "block"}}, {name: 1}, {"mode": name}, {"per_stage": {name: {}}}):
            with row.case(setting, typed=()):
                try:
                    Policy.from_mapping(setting)
                except LlamaGuardError as error:
                    _check(row, [error], setting)
    return row


def _reports(seed: int, cases: int) -> Row:
    """The self-tests of a guard and of a chat model, printed and as JSON."""
    row = Row("self-test's report")
    for chance, _ in cases_of(row.name, seed, cases):
        name = with_controls(chance, "a model of mine")
        choice = {"message": {"content": chance.choice(["safe", "unsafe", name])}, "finish_reason": name}
        good = {"id": name, "model": name, "provider": name, "choices": [choice], "usage": {"prompt_tokens": 5}}
        body = chance.choice([good, good, {"error": {"message": name, "code": 400}}, name])
        with row.case(body, typed=()):
            report = _guard(body).self_test()
            _check(row, [report, json.dumps(report.as_dict(), ensure_ascii=False), *map(repr, report.findings)], body)
    return row


def _command(seed: int, cases: int) -> Row:
    """What the command line prints, on both of its channels, whatever it is told."""
    row = Row("command line")
    for chance, _ in cases_of(row.name, seed, cases):
        name = with_controls(chance, "x y")
        for option in ("", "--host", "--model", "--version", "--gguf", "--json"):
            words = [option, name] if option else [name]
            out, complaints = io.StringIO(), io.StringIO()
            with row.case(words, typed=()), _printing_to(out, complaints):
                main(["self-test", *words])
            _check(row, [out.getvalue(), complaints.getvalue()], words)
    return row


@contextlib.contextmanager
def _printing_to(out: io.StringIO, complaints: io.StringIO) -> Iterator[None]:
    """Where a command prints, and stops. Without a key nobody is asked; to leave is argparse's way to say no."""
    printing = contextlib.redirect_stdout(out), contextlib.redirect_stderr(complaints)
    with printing[0], printing[1], patch.dict(os.environ, clear=True), contextlib.suppress(SystemExit):
        yield


@contextlib.contextmanager
def logged() -> Iterator[list[str]]:
    """What our loggers say, as it would be printed."""
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    handler, logger = Handler(), logging.getLogger("llama_guard_core")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield said
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
