"""LlamaGuard as a Runnable: a step that answers with a verdict, and the maker of the steps that act on one."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from langchain_llama_guard._values import conversation_in
from langchain_llama_guard.guard_nodes import InputGuard, OutputGuard
from llama_guard_core import classifier
from llama_guard_core.guardrail.screening import Check, check_of
from llama_guard_core.guardrail.verdict import Verdict


class LlamaGuard(classifier.LlamaGuard, Runnable[Any, Verdict]):
    """Llama Guard for LangChain: `llama_guard_core.LlamaGuard`, and a Runnable from text or messages to a `Verdict`.

    As a step it judges and lets the chain decide: `RunnablePassthrough.assign(verdict=guard)`. It is asked about
    the last turn, as a prompt or, if it is the assistant's, as a reply. Its own run is traced without the text.

    The settings, and what a verdict is worth, are described at `llama_guard_core.LlamaGuard`.

    Example:
        ```python
        guard = LlamaGuard()
        chain = guarded(prompt | model | StrOutputParser(), guard)
        ```
    """

    def input(self, key: str | None = None) -> InputGuard:
        """A step that lets a prompt through or raises; see `InputGuard`.

        Args:
            key: where in an input mapping the user's words are; all of it is judged if left out.
        """
        return InputGuard(self, key)

    def output(self, key: str | None = None) -> OutputGuard:
        """A step that lets a reply through or puts the refusal in its place; see `OutputGuard`.

        Args:
            key: where in an output mapping the reply is; all of it is judged if left out.
        """
        return OutputGuard(self, key)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        """The verdict on a text, on messages, or on whatever a chain hands on."""
        return self._call_with_config(lambda _: self.judge(_question(input)), _UNTRACED, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Verdict:
        """The verdict on a text, on messages, or on whatever a chain hands on."""

        async def judge(_: Any) -> Verdict:
            return await self.ajudge(_question(input))

        return await self._acall_with_config(judge, _UNTRACED, config, **kwargs)


_UNTRACED = ""


def _question(value: Any) -> Check:
    return check_of(conversation_in(value))
