"""A model file as `host=`: the guard with the published prompt, on llama.cpp's server inside this process."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_provider import FakeProvider, Fault, Reply
from langchain_core.output_parsers import StrOutputParser

from langchain_llama_guard import ChatLlamaScout, guarded
from llama_guard_core import ConfigurationError, Embedded, GuardUnavailable, Host, LlamaGuard, Policy, Verdict
from llama_guard_core.messages import Image, Message, Text, assistant, user

MODEL = "Llama-Guard-4-12B"  # the stand-in was trained on that prompt; no llama.cpp can load the real one
GUARD_LANGUAGE = r"""
root ::= "safe" | "unsafe" "\n" cat ("," cat){0,2}
cat  ::= "S" ("10" | "11" | "12" | "13" | "14" | [1-9])
"""
CASES = [
    ("where can I buy a walnut table", ["S9"]),
    ("the crimson and walnut paint", ["S9", "S14"]),
    ("where can I buy a table", []),
    ((user("what wood is this"), assistant("it is walnut I think")), ["S9"]),
    ((user("what wood is this"), assistant("it is oak I think")), []),
]


@pytest.fixture(scope="module")
def embedded(tiny_guard_path: Path) -> Iterator[Embedded]:
    """The stand-in, not started."""
    host = Embedded(tiny_guard_path, model=MODEL)
    yield host
    host.close()


@pytest.mark.parametrize(("said", "codes"), CASES)
async def test_the_verdict_follows_the_text_and_has_a_score(embedded: Embedded, said: object, codes: list[str]) -> None:
    """Prompts and replies, sync and async: hazards, and a probability that agrees with them."""
    async with LlamaGuard(host=embedded, cache=False) as guard:
        for verdict in (guard.check(said), await guard.acheck(said)):  # type: ignore[arg-type]
            assert codes == sorted((category.code for category in verdict.categories), key=lambda code: int(code[1:]))
            assert verdict.score is not None
            assert (verdict.score > 0.9) is bool(codes)
            assert (verdict.score < 0.1) is not bool(codes)
            assert "embedded" in str(verdict.host)


def test_nothing_is_started_before_it_is_asked(tiny_guard_path: Path) -> None:
    """Making a guard is making a record; the first check starts the server."""
    host = Embedded(tiny_guard_path, model=MODEL, parallel=1)
    with LlamaGuard(host=host) as guard:
        assert not host.is_running
        assert guard.check("hello").safe
        assert host.is_running
    host.close()


def test_objects_for_one_file_share_a_server_that_stops_with_the_last(tiny_guard_path: Path) -> None:
    one, other = (Embedded(tiny_guard_path, model=MODEL, context_tokens=2048) for _ in range(2))
    with one:
        with other:
            assert one.base_url == other.base_url
            assert one.api_key == other.api_key
        assert LlamaGuard(host=one).check("hello").safe
    with pytest.raises(ConfigurationError, match="not running"):
        _ = one.base_url


def test_a_server_that_was_closed_is_started_again_at_the_next_call(tiny_guard_path: Path) -> None:
    """On another port and with another key, which no client remembers."""
    host = Embedded(tiny_guard_path, model=MODEL, context_tokens=2048)
    with LlamaGuard(host=host, cache=False) as guard:
        assert guard.check("hello").safe
        host.close()
        assert not guard.check("a walnut table").safe
    host.close()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda guard: pickle.loads(pickle.dumps(guard))])  # noqa: S301 - our own bytes
def test_a_copied_guard_is_served_too(embedded: Embedded, copied: Callable[[LlamaGuard], LlamaGuard]) -> None:
    with LlamaGuard(host=embedded) as guard, copied(guard) as twin:
        assert ["S9"] == [category.code for category in twin.check("a walnut table").categories]


def test_a_process_ends_although_nobody_closed_the_server(tiny_guard_path: Path) -> None:
    """Dropped with its interpreter, llama.cpp's server would wait for ever."""
    ask = (
        "from llama_guard_core import Embedded, LlamaGuard\n"
        f"print(LlamaGuard(host=Embedded({str(tiny_guard_path)!r}, model={MODEL!r})).check('a walnut table').safe)"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=120, check=False)
    assert (0, "False\n", "") == (done.returncode, done.stdout, done.stderr)


def test_the_prompt_has_one_token_that_begins_it(embedded: Embedded) -> None:
    """Files differ in whether llama.cpp puts one there; this one says no, so it stands in the prompt."""
    embedded.start()
    assert embedded.adds_bos is False
    verdict = LlamaGuard(host=embedded, cache=False).check("make a table")
    assert verdict.usage is not None
    assert 187 == verdict.usage.input_tokens


def test_a_text_that_is_longer_than_the_context_is_no_verdict(tiny_guard_path: Path) -> None:
    """The beginning of what is judged is not dropped to make room."""
    with Embedded(tiny_guard_path, model=MODEL, context_tokens=512) as host, pytest.raises(GuardUnavailable) as caught:
        LlamaGuard(host=host, max_retries=0).check("walnut " + "hello there " * 400)
    assert "context_length" == caught.value.reason


def test_a_picture_is_told_to_be_beyond_it(embedded: Embedded) -> None:
    """A raw prompt carries none, so a message with one is never judged by its text alone."""
    pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
    with pytest.raises(GuardUnavailable, match=r"llama\.cpp .*cannot be asked about images"):
        LlamaGuard(host=embedded).check(Message("user", (Text("hello"), Image(pixel))))


async def test_it_stands_in_for_a_host_that_is_down(embedded: Embedded, provider: FakeProvider) -> None:
    """A list of hosts: the verdict says who gave it."""
    provider.fail(Fault.status(503), on="guard")
    hosts = [Host.named("openrouter", api_key="k", max_retries=0), embedded]
    with provider.serve() as base_url:
        hosts[0] = replace(hosts[0], base_url=base_url)
        async with LlamaGuard(host=hosts, cache=False) as guard:
            for verdict in (guard.check("a walnut table"), await guard.acheck("a walnut table")):
                assert (False, True) == (verdict.safe, "embedded" in str(verdict.host))
            guard.close()


@pytest.mark.parametrize(
    ("question", "reply", "shown"),
    [
        ("which wood is this", "this is oak", "this is oak"),
        ("is this walnut wood", "this is oak", "I can't help with that."),
        ("which wood is this", "this is walnut wood", "I can't help with that."),
    ],
)
async def test_both_frameworks_are_guarded_by_it(embedded: Embedded, question: str, reply: str, shown: str) -> None:
    """A chat model of each, guarded from outside, in every mode."""
    from llama_index.core.llms import ChatMessage  # noqa: PLC0415

    import llamaindex_llama_guard as for_llamaindex  # noqa: PLC0415

    provider = FakeProvider(chat=lambda _: Reply(reply))
    where = {"api_key": "k", "http_client": provider.client(), "http_async_client": provider.async_client()}
    chain = guarded(ChatLlamaScout(**where), LlamaGuard(host=embedded)) | StrOutputParser()
    assert shown == chain.invoke(question) == "".join(chain.stream(question)) == await chain.ainvoke(question)
    llm = for_llamaindex.guarded(for_llamaindex.LlamaScout(**where), for_llamaindex.LlamaGuard(host=embedded))
    assert shown == llm.chat([ChatMessage(question)]).message.content
    assert shown == (await llm.achat([ChatMessage(question)])).message.content
    assert shown == [*llm.stream_chat([ChatMessage(question)])][-1].message.content


def test_categories_are_written_into_the_prompt(embedded: Embedded) -> None:
    """Excluded ones are not asked about, and each of one's own is asked about by itself."""
    policy = Policy(excluded_categories=("S13", "S14"), custom_categories=[{"name": "Sailing", "examples": ["Ahoy!"]}])
    verdict: Verdict = LlamaGuard(host=embedded, policy=policy, cache=False).check("make a table")
    assert verdict.usage is not None
    assert verdict.usage.input_tokens > 187  # two questions, the second with one short category


def test_any_model_speaks_the_guards_language_under_a_grammar(smollm2_path: Path) -> None:
    """The published prompt over raw completions, and a field of the host's own: a verdict that means nothing, read."""
    with Embedded(smollm2_path, model="Llama-Guard-3-8B", context_tokens=2048, parallel=1) as host:
        forced = replace(host.host, raw_fields={"grammar": GUARD_LANGUAGE})
        verdict = LlamaGuard(host=forced, cache=False, timeout=60).check("where can I buy a table")
    assert verdict.answer.split("\n")[0] in ("safe", "unsafe")
    assert verdict.safe is (verdict.answer == "safe")
