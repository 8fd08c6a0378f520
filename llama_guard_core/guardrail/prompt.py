"""A conversation, turned into the messages Llama Guard is asked with.

Llama Guard's templates tell whose message is judged by counting the messages, and put their text into
the prompt as it is. Two things follow, and both happen here and nowhere else:

- **Turns are made to alternate**, beginning with the user and ending with the turn under judgement:
  system messages dropped, neighbours of one role merged, tool results put as user turns and tool calls
  as text, a user's turn put before a lone assistant's.
- **Text is neutralised**: look-alikes and invisible characters are resolved first, then control tokens
  and forged turns are broken up with plain characters. What the guard sees never goes back to the
  application.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.splitting import Splitting
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Image, Message, Text, Unjudgeable

_UNSPOKEN = "(The user has said nothing yet.)"
_IMAGE_ALONE = "(See the image.)"
_BLANK = "(Nothing.)"
_NEWLINES = re.compile(r"\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Control characters, zero-width and bidirectional marks, variation selectors, the soft hyphen: nothing a reader sees.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb\U000e0100-\U000e01ef]"
)
_WITHOUT_ASCII = re.compile(r"[^\x00-\x7f]{32,}")
_MOST_MARKS = 30  # on one letter, as in Unicode's stream-safe text format
_JSON_ESCAPE = re.compile(r"\\u([0-9a-f]{4})", re.IGNORECASE | re.ASCII)
_TAG_CHARACTERS = re.compile("[\U000e0000-\U000e007f]")
_CONTROL = (
    (re.compile(r"<(?=\|)"), "< "),
    (re.compile(r"\|(?=>)"), "| "),
    (re.compile(r"\[(/?)INST\]", re.IGNORECASE), r"[ \1INST ]"),
    (re.compile(r"<<(/?)SYS>>", re.IGNORECASE), r"<< \1SYS >>"),
    (re.compile(r"<(/?)s>", re.IGNORECASE), r"< \1s >"),
    (
        re.compile(r"<(BEGIN|END)(\s+(?:UNSAFE\s*CONTENT\s+CATEGORIES|CONVERSATION))>", re.IGNORECASE),
        r"< \1\2 >",
    ),
)
# Llama Guard 4's own template writes a literal backslash-n after each message, so both kinds begin a line.
_FORGED_TURN = re.compile(r"(^|\\n)([^\S\n]*)((?:user|agent)[^\S\n]*:)", re.IGNORECASE | re.MULTILINE)


def neutralise(text: str) -> str:
    """Break up whatever in `text` could be taken for the guard's own prompt.

    Compatibility look-alikes and invisible characters are resolved first, because doing so can bring a
    control token together; characters from the Unicode tag block, which spell hidden text, are made
    visible so that they are judged. Nothing is deleted that a model could read, and doing it twice
    changes nothing more. Half a surrogate pair becomes U+FFFD; of the accents piled on one letter, thirty stay.

    It does not undo encodings (base64, leetspeak) and does not map letters of other scripts.
    """
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = _TAG_CHARACTERS.sub(_visible, text)
    while (plain := _normalised(text)) != text:
        text = plain
    text = _NEWLINES.sub("\n", text)
    for pattern, broken in _CONTROL:
        text = pattern.sub(broken, text)
    return _FORGED_TURN.sub(r"\1\2> \3", text)


def _normalised(text: str) -> str:
    # Normalising takes time in the square of the longest run of accents: half a minute for 200,000 of them.
    return unicodedata.normalize("NFKC", _WITHOUT_ASCII.sub(_fewer_marks, _INVISIBLE.sub("", text)))


def _fewer_marks(run: re.Match[str]) -> str:
    kept, marks = [], 0
    for character in run[0]:
        decomposed = unicodedata.normalize("NFKD", character)
        marks = marks + 1 if unicodedata.combining(decomposed[0]) else 0
        if marks <= _MOST_MARKS:
            kept.append(character)
    return "".join(kept)


def _visible(tag: re.Match[str]) -> str:
    """A tag character as the ASCII character it stands for."""
    code = ord(tag[0]) - 0xE0000
    return chr(code) if 0x20 <= code < 0x7F else ""  # noqa: PLR2004 - the printable ones


@dataclass(frozen=True, slots=True)
class _Turn:
    role: Literal["user", "assistant"]
    text: str
    images: tuple[Image, ...] = ()
    unjudgeable: tuple[str, ...] = ()

    @property
    def is_blank(self) -> bool:
        return not (self.text.strip() or self.images or self.unjudgeable)


def guard_messages(conversation: Conversation, stage: Stage) -> list[dict[str, Any]]:
    """The chat-completions messages that ask Llama Guard about the end of a conversation.

    Args:
        conversation: the whole chat so far, the part under judgement last.
        stage: what is judged. A reply or a tool call is the assistant's, everything else the user's.

    Returns:
        Messages alternating user and assistant; content is a string, or a list of parts where a turn
        has images.

    Raises:
        GuardUnavailable: if the turn under judgement holds what Llama Guard cannot read, or nothing.
    """
    return [_as_wire(turn) for turn in _judged_last(conversation, stage)]


def guard_questions(conversation: Conversation, stage: Stage, splitting: Splitting) -> list[list[dict[str, Any]]]:
    """The questions about the end of a conversation: one, or one for each chunk of a long text.

    Args:
        conversation: the whole chat so far, the part under judgement last.
        stage: what is judged.
        splitting: how a long text is split. The turns before it are in each question, whole.

    Raises:
        GuardUnavailable: as `guard_messages`; and if the text is longer than may be judged.
    """
    *context, judged = _judged_last(conversation, stage)
    if len(judged.text) > splitting.longest:
        msg = f"a {judged.role} turn of {len(judged.text)} characters is not judged: the most is {splitting.longest}"
        raise GuardUnavailable(msg, reason="too_large", stage=stage)
    before = [_as_wire(turn) for turn in context]
    first, *others = splitting.chunks_of(judged.text)
    # A cut may leave at the start of a chunk what was harmless in the middle of a line: a turn to forge.
    chunks = [replace(judged, text=first), *(_Turn(judged.role, neutralise(chunk)) for chunk in others)]
    return [[*before, _as_wire(chunk)] for chunk in chunks]


def _judged_last(conversation: Conversation, stage: Stage) -> list[_Turn]:
    """The turns the guard is shown, the judged one last."""
    judged = "assistant" if stage in (Stage.REPLY, Stage.TOOL_CALL) else "user"
    turns = list(_merged(_as_turn(message) for message in without_instructions(conversation)))
    if judged == "user" and turns and turns[-1].role == "assistant":
        turns.pop()  # the beginning of a reply, put into the model's mouth: judged together with that reply
    if not turns or turns[-1].role != judged or turns[-1].is_blank:
        msg = f"there is no {judged} turn to judge"
        raise GuardUnavailable(msg, reason="not_judgeable", stage=stage)
    if turns[-1].unjudgeable:
        msg = f"Llama Guard cannot judge {', '.join(sorted(set(turns[-1].unjudgeable)))}: it reads text and images"
        raise GuardUnavailable(msg, reason="not_judgeable", stage=stage)
    if turns[0].role == "assistant":
        turns.insert(0, _Turn("user", _UNSPOKEN))
    return turns


def without_instructions(conversation: Conversation) -> Conversation:
    """The conversation without its system messages, unless nobody else speaks to the model.

    A chat whose only message is the system's carries its user's words in it.
    """
    spoken = tuple(message for message in conversation if message.role != "system")
    return spoken if any(message.role != "assistant" for message in spoken) else conversation


@lru_cache(maxsize=512)  # an agent asks about the same history at every step, each message in all that came before
def _as_turn(message: Message) -> _Turn:
    images = tuple(part for part in message.parts if isinstance(part, Image))
    unjudgeable = tuple(part.kind for part in message.parts if isinstance(part, Unjudgeable))
    role: Literal["user", "assistant"] = "assistant" if message.role == "assistant" else "user"
    if role == "assistant" and images:  # the model was trained on pictures in user turns only
        images, unjudgeable = (), (*unjudgeable, "an image in a reply")
    return _Turn(role, neutralise(_written(message)), images, unjudgeable)


def _written(message: Message) -> str:
    text = "\n".join(part.text for part in message.parts if isinstance(part, Text) and part.text)
    if message.role == "tool":
        return f"Result of a tool:\n{text}"
    calls = [f"Call of the tool {call.name} with {_unescaped(call.arguments) or '{}'}" for call in message.tool_calls]
    return "\n".join([text, *calls] if text else calls)


def _unescaped(arguments: str) -> str:
    r"""JSON text with its `\uXXXX` written out: models escape whole languages that way."""
    return _JSON_ESCAPE.sub(lambda escape: chr(int(escape[1], 16)), arguments)


def _merged(turns: Iterable[_Turn]) -> Iterator[_Turn]:
    last: _Turn | None = None
    for turn in turns:
        if last is None:
            last = turn
        elif last.role != turn.role:
            yield last
            last = turn
        else:
            text = "\n\n".join(filter(None, (last.text, turn.text)))
            last = _Turn(last.role, text, last.images + turn.images, last.unjudgeable + turn.unjudgeable)
    if last is not None:
        yield last


def _as_wire(turn: _Turn) -> dict[str, Any]:
    placeholders = [neutralise(f"({kind})") for kind in turn.unjudgeable]
    text = "\n".join(filter(None, [turn.text, *placeholders]))
    if not turn.images:
        # A plain string: lists of parts are an error, or an empty conversation, on hosts of text-only guards.
        return {"role": turn.role, "content": text if text.strip() else _BLANK}
    pictures = [{"type": "image_url", "image_url": {"url": image.url}} for image in turn.images]
    # Some servers place no image whose turn has no text.
    return {"role": turn.role, "content": [*pictures, {"type": "text", "text": text if text.strip() else _IMAGE_ALONE}]}
