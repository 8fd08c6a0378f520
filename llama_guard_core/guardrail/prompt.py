"""A conversation, turned into the questions Llama Guard is asked.

Llama Guard's templates tell whose message is judged by counting the messages, and put their text into
the prompt as it is. Two things follow:

- **Turns are made to alternate**, beginning with the user and ending with the turn under judgement:
  system messages dropped, neighbours of one role merged, tool results put as user turns and tool calls
  as text, a user's turn put before a lone assistant's.
- **Text is hardened**: every turn is neutralised, and the judged one is asked about in each of its forms
  (`hardening.py`) and, where it is long, in chunks (`splitting.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.hardening import Hardening, broken_up, neutralise
from llama_guard_core.guardrail.splitting import Splitting
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Image, Message, Text, Unjudgeable

_UNSPOKEN = "(The user has said nothing yet.)"
_IMAGE_ALONE = "(See the image.)"
_BLANK = "(Nothing.)"
_JSON_ESCAPE = re.compile(r"\\u([0-9a-f]{4})", re.IGNORECASE | re.ASCII)
Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of what the guard is shown.

    Attributes:
        role: whose words the guard takes it for.
        text: what was said, calls of tools written out.
        images: its pictures, which the guard sees before the text.
        unjudgeable: what else stood in it, by kind; the guard is told that it was there.
    """

    role: Role
    text: str = field(repr=False)
    images: tuple[Image, ...] = ()
    unjudgeable: tuple[str, ...] = ()

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing in it that could be judged."""
        return not (self.text.strip() or self.images or self.unjudgeable)


def guard_questions(
    conversation: Conversation, stage: Stage, splitting: Splitting, hardening: Hardening | None = None
) -> list[tuple[Turn, ...]]:
    """The questions about the end of a conversation: one for each form of the judged text, or for each chunk of it.

    Args:
        conversation: the whole chat so far, the part under judgement last.
        stage: what is judged. A reply or a tool call is the assistant's, everything else the user's.
        splitting: how a long text is split. The turns before it are in each question, whole.
        hardening: the forms in which the text is judged. Its pictures are in the first question only.

    Returns:
        Questions of turns that alternate, the user's first, the judged one last. One unsafe answer is enough.

    Raises:
        GuardUnavailable: if the turn under judgement holds what Llama Guard cannot read, or nothing, or if a form of
            its text is longer than may be judged.
    """
    context, judged = _parted(conversation, stage)
    forms = (hardening or Hardening()).forms_of(judged.text, longest=splitting.longest)
    judged = replace(judged, text=forms[0])
    _check_judgeable(judged, stage)
    chunks: list[str] = []
    for form in forms:
        if len(form) > splitting.longest:
            msg = f"a {judged.role} turn of {len(form)} characters is not judged: the most is {splitting.longest}"
            raise GuardUnavailable(msg, reason="too_large", stage=stage)
        start, *rest = splitting.chunks_of(form)
        # A cut may leave at the start of a chunk what was harmless in the middle of a line: a turn to forge.
        chunks += [start, *map(broken_up, rest)]
    first, *others = chunks
    if first != judged.text:
        judged = replace(judged, text=first)
    return [(*context, judged), *((*context, Turn(judged.role, chunk)) for chunk in others)]


def chat_messages(question: Sequence[Turn], *, content: Literal["string", "parts"] = "string") -> list[dict[str, Any]]:
    """A question as the messages of a chat-completions request.

    Args:
        question: its turns.
        content: `string` to put turns without pictures as plain strings: given lists of parts, hosts of text-only
            guards fail or show an empty conversation. `parts` to put every turn as a list of parts: given strings,
            the templates of Llama Guard 3 1B and 11B show an empty conversation.
    """
    return [{"role": turn.role, "content": _content_of(turn, content)} for turn in question]


def text_shown(turn: Turn) -> str:
    """What the guard reads of a turn: its text, and words for what else was there. Never nothing."""
    placeholders = [neutralise(f"({kind})") for kind in turn.unjudgeable]
    text = "\n".join(filter(None, [turn.text, *placeholders]))
    if text.strip():
        return text
    return _IMAGE_ALONE if turn.images else _BLANK  # some servers place no image whose turn has no text


def _content_of(turn: Turn, content: Literal["string", "parts"]) -> str | list[dict[str, Any]]:
    text = text_shown(turn)
    if content == "string" and not turn.images:
        return text
    pictures = [{"type": "image_url", "image_url": {"url": image.url}} for image in turn.images]
    return [*pictures, {"type": "text", "text": text}]


def _parted(conversation: Conversation, stage: Stage) -> tuple[list[Turn], Turn]:
    """The turns before the judged one, neutralised, and the judged one as it was said."""
    role: Role = "assistant" if stage in (Stage.REPLY, Stage.TOOL_CALL) else "user"
    messages = list(without_instructions(conversation))
    if role == "user":  # the beginning of a reply, put into the model's mouth, is judged together with that reply
        messages = _without_last(messages, "assistant")
    before = _without_last(messages, role)
    judged = next(_merged(map(_as_turn, messages[len(before) :])), Turn(role, ""))
    context = list(_merged(map(_as_neutral_turn, before)))
    if (context[0] if context else judged).role == "assistant":
        context.insert(0, Turn("user", _UNSPOKEN))
    return context, judged


def _check_judgeable(judged: Turn, stage: Stage) -> None:
    if judged.is_blank:
        msg = f"there is no {judged.role} turn to judge"
        raise GuardUnavailable(msg, reason="not_judgeable", stage=stage)
    if judged.unjudgeable:
        msg = f"Llama Guard cannot judge {', '.join(sorted(set(judged.unjudgeable)))}: it reads text and images"
        raise GuardUnavailable(msg, reason="not_judgeable", stage=stage)


def _without_last(messages: list[Message], role: Role) -> list[Message]:
    """Messages without those at their end that are put as one role's."""
    end = len(messages)
    while end and _role_of(messages[end - 1]) == role:
        end -= 1
    return messages[:end]


def _role_of(message: Message) -> Role:
    return "assistant" if message.role == "assistant" else "user"


def without_instructions(conversation: Conversation) -> Conversation:
    """The conversation without its system messages, unless nobody else speaks to the model.

    A chat whose only message is the system's carries its user's words in it.
    """
    spoken = tuple(message for message in conversation if message.role != "system")
    return spoken if any(message.role != "assistant" for message in spoken) else conversation


def _as_turn(message: Message) -> Turn:
    images = tuple(part for part in message.parts if isinstance(part, Image))
    unjudgeable = tuple(part.kind for part in message.parts if isinstance(part, Unjudgeable))
    role = _role_of(message)
    if role == "assistant" and images:  # the model was trained on pictures in user turns only
        images, unjudgeable = (), (*unjudgeable, "an image in a reply")
    return Turn(role, _written(message), images, unjudgeable)


@lru_cache(maxsize=512)  # an agent asks about the same history at every step, each message in all that came before
def _as_neutral_turn(message: Message) -> Turn:
    turn = _as_turn(message)
    return replace(turn, text=neutralise(turn.text))


def _written(message: Message) -> str:
    text = "\n".join(part.text for part in message.parts if isinstance(part, Text) and part.text)
    calls = [f"Call of the tool {call.name} with {_unescaped(call.arguments) or '{}'}" for call in message.tool_calls]
    said = "\n".join([text, *calls] if text else calls)
    return f"Result of a tool:\n{said}" if message.role == "tool" else said


def _unescaped(arguments: str) -> str:
    r"""JSON text with its `\uXXXX` written out: models escape whole languages that way."""
    return _JSON_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), arguments)


def _merged(turns: Iterable[Turn]) -> Iterator[Turn]:
    last: Turn | None = None
    for turn in turns:
        if last is None:
            last = turn
        elif last.role != turn.role:
            yield last
            last = turn
        else:
            text = "\n\n".join(filter(None, (last.text, turn.text)))
            last = Turn(last.role, text, last.images + turn.images, last.unjudgeable + turn.unjudgeable)
    if last is not None:
        yield last
