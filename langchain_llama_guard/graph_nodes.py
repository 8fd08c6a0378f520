"""GuardNode: the guard as a node of a LangGraph graph that somebody built by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_llama_guard._conversation import conversation_of
from langchain_llama_guard._decision_events import aannounce, announce
from langchain_llama_guard._history import prompt_refusal, replacements
from langchain_llama_guard._refusals import METADATA_KEY, refusal_message
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun_all, run
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_records, refusal_error
from llama_guard_core.guardrail.history import decided, history_checks
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow, screen

Route = Literal["allowed", "refused"]


class GuardNode(Runnable[Any, dict[str, Any] | None]):
    """A node that judges what is new in a graph's messages, and the edge that says whether to go on.

    Put it before the model, where the loop of an agent comes by at each step: it judges the user's message, history
    that was handed in, and the results of tools before the model reads them. Each message is judged once; the guard's
    cache knows the rest. Unsafe messages are replaced in the state under their ids. Where the newest prompt is unsafe,
    or some message got no verdict, the refusal is added, and `route` says `refused`.

    It may stand behind a model too, before the tools: a reply that is refused is replaced by the refusal, without its
    calls. But it comes too late there for callbacks, streams and the first checkpoint; `guarded(model, guard)` in the
    model's own node withholds a reply from these. `guard_tools`, or the hooks of a `LlamaGuardMiddleware` in a
    `ToolNode`, judge what tools give before it is in the state at all.

    It does not take the user's message out of the first checkpoint, nor out of what traces and streams tell of the
    graph's input. Where the policy says `prompt_check="parallel"`, it checks first nevertheless.

    Args:
        guard: what judges, with the policy for each stage.
        messages_key: where in the state the messages are: a key of a dict, an attribute of a pydantic model or a
            dataclass. It needs LangGraph's `add_messages` for a reducer, as in `MessagesState`: it replaces by id.
        at_once: how many questions an async run puts at the same time.

    Raises:
        UnsafeContent: where the policy says `on_unsafe="raise"`, and for an unsafe message without an id, which
            nothing can replace.
        GuardUnavailable: where the policy says `on_no_verdict="raise"`.
        ConfigurationError: the state has no such key.

    Example:
        ```python
        node = GuardNode(guard)
        graph.add_node("guard", node)
        graph.add_edge(START, "guard")
        graph.add_conditional_edges("guard", node.route, {"allowed": "model", "refused": END})
        ```
    """

    def __init__(self, guard: LlamaGuard, messages_key: str = "messages", *, at_once: int = 8) -> None:
        self.guard = guard
        self.messages_key = messages_key
        self.at_once = at_once

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any] | None:
        """Judge the messages of a state.

        Returns:
            What changes in the state; `None` where nothing does.
        """
        turn = _Turn(self.guard.policy, self._messages(input))

        def judge(_: str, run_manager: CallbackManagerForChainRun) -> dict[str, Any] | None:
            decisions = [run(flow, self.guard.judge) for flow in turn.flows]
            announce(_fresh(decisions), run_manager)
            return self._update(turn.changes(decisions))

        return self._call_with_config(judge, turn.trace, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any] | None:
        """Judge the messages of a state; see `invoke`."""
        turn = _Turn(self.guard.policy, self._messages(input))

        async def judge(_: str, run_manager: AsyncCallbackManagerForChainRun) -> dict[str, Any] | None:
            decisions = await arun_all(turn.flows, self.guard.ajudge, at_once=self.at_once)
            await aannounce(_fresh(decisions), run_manager)
            return self._update(turn.changes(decisions))

        return await self._acall_with_config(judge, turn.trace, config, **kwargs)

    def route(self, state: Any) -> Route:
        """Whether to go on, for `add_conditional_edges`: told by the state alone, so also after a reload."""
        messages = self._messages(state)
        return "refused" if messages and _is_refusal(messages[-1]) else "allowed"

    def _update(self, changes: Sequence[BaseMessage]) -> dict[str, Any] | None:
        return {self.messages_key: list(changes)} if changes else None

    def _messages(self, state: Any) -> list[BaseMessage]:
        try:
            said = state[self.messages_key] if isinstance(state, Mapping) else getattr(state, self.messages_key)
        except (KeyError, AttributeError):
            msg = f"there is no {self.messages_key!r} in this graph's state: set messages_key to where its messages are"
            raise ConfigurationError(msg) from None
        return convert_to_messages(said or [])


class _Turn:
    """One pass over a graph's messages."""

    def __init__(self, policy: Policy, messages: Sequence[BaseMessage]) -> None:
        self._messages = messages
        self._checks = history_checks(policy, conversation_of(messages))
        self.flows: list[Flow[Allow | Refuse]] = [screen(policy, it.check) for it in self._checks]

    @property
    def trace(self) -> str:
        """What a trace is told in the place of the messages."""
        return f"({len(self._messages)} messages)"

    def changes(self, decisions: Iterable[Allow | Refuse]) -> list[BaseMessage]:
        """The messages that replace others of the same id, and the refusal if the graph is not to go on."""
        about = decided(self._checks, decisions, len(self._messages))
        for message, decision in zip(self._messages, about, strict=True):
            if isinstance(decision, Refuse) and message.id is None and decision.error is None:
                raise refusal_error(decision)
        refusal = self._refusal(about)
        if refusal is None:
            return replacements(self._messages, about)
        # Calls of a reply that nobody goes on from would stay unanswered, so the refusal stands in its place.
        reply = self._messages[-1] if isinstance(self._messages[-1], AIMessage) else None
        others = len(self._messages) - (reply is not None)
        said = refusal_message(refusal, decision_records(refusal), reply)
        return [*replacements(self._messages[:others], about[:others]), said]

    def _refusal(self, about: Sequence[Allow | Refuse]) -> Refuse | None:
        """Why the graph is not to go on."""
        if about and isinstance(self._messages[-1], AIMessage) and isinstance(about[-1], Refuse):
            return about[-1]
        return prompt_refusal(self._messages, about)


def _fresh(decisions: Iterable[Allow | Refuse]) -> list[Allow | Refuse]:
    """What was decided just now, and not told at an earlier step."""
    return [it for it in decisions if it.verdict is None or not it.verdict.cached]


def _is_refusal(message: BaseMessage) -> bool:
    records = message.response_metadata.get(METADATA_KEY, ()) if isinstance(message, AIMessage) else ()
    return any(record["action"] == "refuse" for record in records)
