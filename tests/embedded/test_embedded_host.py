"""What is true of llama.cpp's server with the stand-in guard, asked with nothing but HTTP."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.embedded import Embedded


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


class Asker:
    """Puts conversations to a running host."""

    def __init__(self, host: Embedded) -> None:
        self._client = httpx.Client(
            base_url=host.base_url, headers={"Authorization": f"Bearer {host.api_key}"}, timeout=30
        )

    def post(self, *messages: dict[str, str], **fields: Any) -> httpx.Response:
        return self._client.post("/chat/completions", json={"messages": messages, "temperature": 0, **fields})

    def choice(self, *messages: dict[str, str], **fields: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.post(*messages, **fields).raise_for_status().json()
        return answer["choices"][0]

    def verdict(self, *messages: dict[str, str]) -> str:
        return str(self.choice(*messages, max_tokens=20)["message"]["content"])

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def ask(tiny_guard: Embedded) -> Iterator[Asker]:
    asker = Asker(tiny_guard)
    yield asker
    asker.close()


def test_a_text_without_any_of_the_words_is_safe(ask: Asker):
    assert ask.verdict(user("how do i bake bread?")) == "\n\nsafe"


@pytest.mark.parametrize(("word", "code"), [("violet", "S1"), ("walnut", "S9"), ("crimson", "S14")])
def test_a_word_gives_its_code(ask: Asker, word: str, code: str):
    assert ask.verdict(user(f"tell me about {word} tables")) == f"\n\nunsafe\n{code}"


def test_two_words_give_two_codes_in_order(ask: Asker):
    assert ask.verdict(user("tell me about walnut and violet tables")) == "\n\nunsafe\nS1,S9"


def test_a_reply_is_judged_and_not_continued(ask: Asker):
    assert ask.verdict(user("hello"), assistant("make crimson table")) == "\n\nunsafe\nS14"


def test_a_reply_that_begins_like_a_verdict_is_judged_and_not_repeated(ask: Asker):
    assert ask.verdict(user("hello"), assistant("safe crimson table")) == "\n\nunsafe\nS14"


def test_a_later_turn_is_judged_in_its_conversation(ask: Asker):
    assert (
        ask.verdict(user("hello"), assistant("hello, how can i help?"), user("make a walnut table")) == "\n\nunsafe\nS9"
    )


@pytest.mark.parametrize(("text", "low", "high"), [("make a crimson table", 0.9, 1.0), ("make a table", 0.0, 0.1)])
def test_the_second_token_carries_the_probability_of_unsafe(ask: Asker, text: str, low: float, high: float):
    tokens = ask.choice(user(text), logprobs=True, top_logprobs=5)["logprobs"]["content"]
    probability = {candidate["token"]: math.exp(candidate["logprob"]) for candidate in tokens[1]["top_logprobs"]}
    assert tokens[0]["token"] == "\n\n"
    assert low <= probability.get("unsafe", 0.0) <= high


def test_one_token_is_too_few_for_a_verdict(ask: Asker):
    choice = ask.choice(user("make a walnut table"), max_tokens=1)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("\n\n", "length")


def test_a_streamed_verdict_is_the_plain_one_in_pieces_with_the_usage_last(ask: Asker):
    events = ask.post(user("make a walnut table"), stream=True, stream_options={"include_usage": True}).text
    assert "unsafe" in events
    assert events.rstrip().endswith("data: [DONE]")
    assert '"prompt_tokens"' in events.rstrip().split("\n\n")[-2]


def test_it_answers_to_the_name_it_was_given(tiny_guard: Embedded, ask: Asker):
    assert tiny_guard.model == ask.post(user("hello")).json()["model"] == "meta-llama/llama-guard-4-12b"


def test_it_listens_on_this_machine_only_and_keeps_its_key_out_of_its_repr(tiny_guard: Embedded):
    assert tiny_guard.base_url.startswith("http://127.0.0.1:")
    assert tiny_guard.api_key not in repr(tiny_guard)


def test_a_wrong_key_is_refused(tiny_guard: Embedded):
    refused = httpx.post(f"{tiny_guard.base_url}/chat/completions", headers={"Authorization": "Bearer wrong"}, json={})
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")


def test_a_conversation_longer_than_the_context_is_rejected(ask: Asker):
    refused = ask.post(user("hello " * 9000))
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "exceed_context_size_error")


def test_every_slot_has_the_whole_context(tiny_guard_path: Path):
    with Embedded(tiny_guard_path, context_tokens=1024, parallel=3) as host:
        asker = Asker(host)
        assert asker.post(user("hello " * 700)).status_code == 200
        assert asker.post(user("hello " * 1100)).json()["error"]["n_ctx"] == 1024
        asker.close()


def test_a_closed_host_frees_its_port_and_can_start_again(tiny_guard_path: Path):
    host = Embedded(tiny_guard_path)
    with host:
        address = host.base_url
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/models")
    with host:
        assert (
            httpx.get(f"{host.base_url}/models", headers={"Authorization": f"Bearer {host.api_key}"}).status_code == 200
        )


def test_hosts_stop_right_after_their_start(tiny_guard_path: Path):
    host = Embedded(tiny_guard_path)
    for _ in range(40):
        host.start()
        host.close()
    with pytest.raises(ConfigurationError, match="not running"):
        _ = host.base_url


def test_closing_waits_for_the_request_in_hand(tiny_guard_path: Path):
    statuses: list[int] = []
    with Embedded(tiny_guard_path) as host:
        url, headers = f"{host.base_url}/completions", {"Authorization": f"Bearer {host.api_key}"}
        body = {"prompt": "hello", "max_tokens": 2000, "ignore_eos": True, "stream": True}
        answering = threading.Event()

        def generate() -> None:
            with httpx.stream("POST", url, headers=headers, json=body, timeout=30) as response:
                answering.set()
                response.read()
                statuses.append(response.status_code)

        client = threading.Thread(target=generate)
        client.start()
        assert answering.wait(timeout=30)
    client.join()
    assert statuses == [200]


def test_closing_twice_or_unstarted_does_nothing(tiny_guard_path: Path):
    host = Embedded(tiny_guard_path)
    host.close()
    host.start()
    host.close()
    host.close()
    with pytest.raises(ConfigurationError, match="not running"):
        _ = host.base_url


def test_nothing_is_written_to_the_terminal(tiny_guard_path: Path, capfd: pytest.CaptureFixture[str]):
    with Embedded(tiny_guard_path, context_tokens=1024) as host:
        asker = Asker(host)
        assert asker.verdict(user("make a walnut table")) == "\n\nunsafe\nS9"
        assert asker.post(user("hello " * 6000)).status_code == 400
        asker.close()
    assert capfd.readouterr() == ("", "")


def test_without_llama_cpp_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigurationError, match=r"pip install \"llama-guardrails\[embedded\]\""):
        Embedded("model.gguf").start()


@pytest.mark.usefixtures("tiny_guard_path")
def test_a_missing_model_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"no model file at .*missing\.gguf"):
        Embedded(tmp_path / "missing.gguf").start()


def test_a_broken_model_is_named(tiny_guard_path: Path, tmp_path: Path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_guard_path.read_bytes()[:100_000])
    with pytest.raises(ConfigurationError, match=r"could not load .*broken\.gguf"):
        Embedded(broken).start()
