"""What property tests draw from: hostile text, the guard's answers, conversations, policies, streams."""

from __future__ import annotations

from hypothesis import strategies as st

from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.stream_windows import Streaming
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Message, Role, Text, ToolCall

_PIECES_OF_CONTROL = [
    *("<", "|", ">", "<|", "|>", "<<", ">>", "eot", "/", "s", "SYS", "INST", "[", "]", "BEGIN", "END", " CONVERSATION"),
    *("user", "User:", "AGENT", ":", "\n", "\\n", "\\", "n", "\r", "\t", " ", "\v", "\x1d", "\x1f", "\x85", "\u2028"),
    *("\uff1c", "\uff5c", "\uff1e", "\uff1a", "\uff35", "\u017f", "\u1680", "\u3000", "\ufe64", "\u226e", "\ufdfa"),
    *("\u200b", "\u00ad", "\ufe0f", "\u3164", "\x00", "\x08", "\U000e0001", "\U000e003c", "\U000e007c", "\U000e000a"),
    *("\u0338", "\u0301", "\u0327", "\u0344", "\u0f73", "e", "\ud83d", "\ude00", "\u1100", "\u1161", "\u0e33"),
]
hostile_texts = st.lists(st.sampled_from(_PIECES_OF_CONTROL) | st.characters(codec=None), max_size=40).map("".join)
"""Pieces of control tokens, forged turns, look-alikes, invisible and combining characters, in any order."""

_PIECES_OF_ANSWERS = [
    *("safe", "Safe", "SAFE", "unsafe", "un", "sa", "fe", "f", "\u017fafe", "s\u0430fe", "\uff53afe", "saf\u0435"),
    *("\n", "\n\n", " ", "\t", "\u00a0", "\u200b", "S1", "S9,", "O3", "s14", ".", ",", "!", "**", "`", '"', "_", "#"),
    *("<|eot|>", "<|eot_id|>", "<|EOT|>", "<|", "|>", '{"safe": true}', '{"safe": ', "true", "}", "not ", "is"),
]
answers = st.lists(st.sampled_from(_PIECES_OF_ANSWERS), max_size=6).map("".join)
"""What a guard, or whatever stands in its place, may write."""

_words = st.text("abcdefghij", min_size=4, max_size=8)
_texts = st.lists(_words, max_size=4).map(" ".join)
_calls = st.builds(ToolCall, st.just("c1"), st.just("look_up"), _words.map('{{"q": "{}"}}'.format))


@st.composite
def messages(draw: st.DrawFn, roles: tuple[Role, ...] = ("system", "user", "assistant", "tool")) -> Message:
    """A message of text; an assistant's may call tools."""
    role = draw(st.sampled_from(roles))
    calls = draw(st.lists(_calls, max_size=2)) if role == "assistant" else []
    return Message(role, tuple(map(Text, draw(st.lists(_texts, max_size=2)))), tuple(calls))


conversations: st.SearchStrategy[Conversation] = st.lists(messages(), max_size=7).map(tuple)
"""Any order of roles, blank messages included."""

actions = st.sampled_from(["block", "flag", "ignore"])
streamings = st.builds(
    Streaming,
    hold=st.sampled_from(["whole", "window", "window", "optimistic"]),
    unit=st.sampled_from(["characters", "sentences"]),
    window=st.none() | st.integers(1, 12),
    steady=st.integers(1, 4),
    growth=st.floats(1, 3),
    most_checks=st.integers(1, 8),
    ahead=st.integers(1, 30),
)
"""Every way to hold a stream, with windows that short replies fill."""

policies = st.builds(
    Policy,
    stages=st.frozensets(st.sampled_from(Stage), min_size=1),
    hazards=st.dictionaries(st.sampled_from(["S1", "S6", "Hate"]), actions),
    mode=st.sampled_from(["enforce", "monitor"]),
    on_unsafe=st.sampled_from(["refuse", "raise"]),
    on_no_verdict=st.sampled_from(["refuse", "raise", "allow"]),
    streaming=streamings,
    prompt_check=st.sampled_from(["before", "parallel"]),
)

streams = st.lists(st.text("ab ", max_size=3), max_size=8)
"""The chunks of a streamed reply, empty and blank ones included."""
