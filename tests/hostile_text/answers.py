"""What a guard, or whatever stands in its place, may write; and, read by other means than the package's, what is safe."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

_WORDS = [
    *(
        "safe",
        "safe",
        "safe",
        "Safe",
        "SAFE",
        "unsafe",
        "unsafe",
        "Unsafe",
        "un",
        "sa",
        "fe",
        "afe",
        "safety",
        "safely",
    ),
    *("not safe", "is safe", "unsafe\nS1", "safe\nS1", "S1", "S9,", "s14", "O3", "S1,S2", "S15", "s1", "s 1", "none"),
    *("safe.", "safe!", "safe?", "yes", "no", "User:", "Agent:", "The message is", "but", "and", "1", "true", "false"),
]
_LOOK_ALIKES = [
    *(
        "\u017fafe",
        "s\u0430fe",
        "saf\u0435",
        "\uff53\uff41\uff46\uff45",
        "sa\ufb00e",
        "safe\u0301",
        "\U0001d42c\U0001d41a",
        "\u24e2afe",
    ),
    *(
        "un\u017fafe",
        "u\u0144safe",
        "\uff55nsafe",
        "\u02e2\u1d43\u1da0\u1d49",
        "\U000e0073\U000e0061",
        "s\u0430f\u0435",
        "\u2610safe",
    ),
]
_BLANKS = [
    " ",
    "\n",
    "\n\n",
    "\t",
    "\r\n",
    "\r",
    "\x0b",
    "\x0c",
    "\x1f",
    "\x85",
    "\u00a0",
    "\u2028",
    "\u3000",
    "\u1680",
]
_UNSEEN = [
    "\u200b",
    "\u200d",
    "\u2060",
    "\ufeff",
    "\u00ad",
    "\u202e",
    "\u2066",
    "\u061c",
    "\x00",
    "\x07",
    "\x08",
    "\x1b[2K",
    "\x7f",
    "\x9b",
    "\ud83d",
]
_MARKS = [
    "*",
    "**",
    "_",
    "`",
    "```",
    '"',
    "'",
    "#",
    ">",
    "-",
    ".",
    ",",
    ":",
    ";",
    "(",
    ")",
    "[",
    "]",
    "|",
    "<",
    "/",
    "~~",
    "==",
    "\\",
]
_TOKENS = [
    *(
        "<|eot|>",
        "<|eot_id|>",
        "<|end_of_text|>",
        "<|eom_id|>",
        "<|im_end|>",
        "<|EOT|>",
        "<|eot|",
        "|>",
        "<|",
        "< |eot|>",
    ),
    *("<|unsafe|>", "<|s1|>", "<|safe|>", "<|python_tag|>", "</s>", "<|header_start|>", "<|eot|><|eot|>", "[/INST]"),
]
_JSON_VALUES = [
    *(
        "true",
        "true",
        "true",
        "false",
        "null",
        "1",
        "0",
        '"true"',
        '"safe"',
        '"unsafe"',
        "[]",
        "[]",
        '["S1"]',
        '["s1"]',
    ),
    *(
        '["violent-crimes"]',
        '["S1", "S9"]',
        '["Hate"]',
        "[null]",
        '[{"code": "S9"}]',
        "{}",
        '""',
        "NaN",
        "1e999",
        "[[]]",
    ),
]
_JSON_NAMES = [
    '"safe"',
    '"safe"',
    '"safe"',
    '"categories"',
    '"categories"',
    '"unsafe"',
    '"flagged"',
    '"s\\u0061fe"',
    '"Safe"',
    '"reason"',
]
_RECORDED = [
    *(
        "safe",
        "\n\nsafe",
        "safe<|eot_id|>",
        "\n\nunsafe\nS10",
        "unsafe\nS1,S9",
        "unsafe\nS3<|eot_id|>",
        "**Safe.**<|eot|>",
    ),
    *(
        '{"safe": true, "categories": []}',
        '{"safe": false, "categories": ["S10"]}',
        "unsafe \nS1, S2",
        "\n\nunsafe<|end_of_text|>",
    ),
    *('"safe"', "`safe`", "unsafe: S1", "Hello! How can I help you today?", '{"safe": true}'),
]
_ANY = [*_WORDS, *_WORDS, *_LOOK_ALIKES, *_BLANKS, *_UNSEEN, *_MARKS, *_TOKENS]
_DECORATION = [*_BLANKS[:6], "*", "**", "_", "`", '"', "'"]
FINISH_REASONS = ["stop"] * 6 + [None, "length", "content_filter", "error", "", "STOP", "eos"]


def answer(chance: random.Random) -> str:
    """One answer."""
    return chance.choice(_FORMS)(chance)


def _pieces(chance: random.Random) -> str:
    return "".join(chance.choices(_ANY, k=chance.randint(0, 6)))


def _decorated(chance: random.Random) -> str:
    """A word in what a model may put around it, and at times in something else."""
    before = "".join(chance.choices(_DECORATION, k=chance.randint(0, 3)))
    after = "".join(chance.choices([*_DECORATION, ".", *_TOKENS[:5]], k=chance.randint(0, 3)))
    odd = chance.choice(_ANY) if chance.random() < 0.4 else ""
    word = chance.choice(
        ["safe", "safe", "Safe", "unsafe", "unsafe\nS1", "unsafe\nS1, S9", chance.choice(_LOOK_ALIKES)]
    )
    return chance.choice([f"{before}{word}{after}{odd}", f"{odd}{before}{word}{after}", f"{before}{word}{odd}{after}"])


def _changed(chance: random.Random) -> str:
    """An answer that was seen, with a few of its characters lost, doubled or replaced."""
    text = chance.choice(_RECORDED)
    for _ in range(chance.randint(0, 3)):
        at = chance.randint(0, len(text))
        put = chance.choice(["", "", chance.choice(_ANY), text[at : at + 1] * 2])
        text = text[:at] + put + text[at + chance.randint(0, 1) :]
    return text


def _json(chance: random.Random) -> str:
    """An object that is near to a verdict, perhaps not whole, perhaps in or among something else."""
    fields = [f"{chance.choice(_JSON_NAMES)}: {chance.choice(_JSON_VALUES)}" for _ in range(chance.randint(0, 3))]
    text = "{" + ", ".join(fields) + "}"
    if chance.random() < 0.1:
        text = chance.choice(
            [f"[{text}]", text[: chance.randint(0, len(text))], f"{text}{text}", f"```json\n{text}\n```"]
        )
    return text + (chance.choice(_ANY) if chance.random() < 0.2 else "")


def _with_another_field(chance: random.Random) -> str:
    """A verdict as an object, with one thing more in it."""
    fields = [f'"safe": {chance.choice(["true", "false"])}', f'"categories": {chance.choice(_JSON_VALUES[10:15])}']
    fields.insert(chance.randint(0, 2), f"{chance.choice(_JSON_NAMES)}: {chance.choice(_JSON_VALUES)}")
    return "{" + ", ".join(fields) + "}"


_FORMS: list[Callable[[random.Random], str]] = [
    _pieces,
    _decorated,
    _decorated,
    _changed,
    _changed,
    _json,
    _with_another_field,
]


# What the formats allow. Meta's card: the first line is `safe` or `unsafe`, the second the codes. Hosts leave end-of-turn
# tokens; models quote or embolden; Cloudflare and Meta's moderation give an object.
_END = r"(?:<\|(?:eot|eom|eot_id|eom_id|end|end_id|end_of_text|end_of_text_id|end_of_turn|end_of_turn_id|endoftext|endoftext_id|im_end|im_end_id|finetune_right_pad|finetune_right_pad_id)\|>[ \t\r\n]*)*"
_AROUND = r"[ \t\r\n*_`\"']*"
_SAFE = re.compile(rf"{_AROUND}[Ss][Aa][Ff][Ee]\.*{_AROUND}{_END}", re.ASCII)
_OBJECT = re.compile(rf"{_AROUND}(\{{.*\}}){_AROUND}{_END}", re.ASCII | re.DOTALL)
_S1_ALONE = re.compile(
    r"[*_`\"' \t\r\n,;:.\-\[\]]*(?:[Ss]0?1[*_`\"' \t\r\n,;:.\-\[\]]+)*[Ss]1[*_`\"' \t\r\n,;:.\-\[\]]*", re.ASCII
)
_UNSAFE_S1 = re.compile(rf"{_AROUND}[Uu][Nn][Ss][Aa][Ff][Ee](.*?){_END}", re.ASCII | re.DOTALL)
_SAFE_OBJECTS = ([("safe", True)], [("safe", True), ("categories", [])], [("safe", True), ("categories", None)])


def says_safe(text: str, finish_reason: str | None) -> bool:
    """Whether a text says exactly that it is safe, and was not cut."""
    if finish_reason not in (None, "stop"):
        return False
    if _SAFE.fullmatch(text):
        return True
    pairs = _pairs(text)
    return any(repr(sorted(pairs, key=repr)) == repr(sorted(said, key=repr)) for said in _SAFE_OBJECTS)


def names_s1_alone(text: str, finish_reason: str | None) -> bool:
    """Whether a text says that it is unsafe for S1, and for nothing else that could be meant."""
    if finish_reason not in (None, "stop"):
        return False
    said = _UNSAFE_S1.fullmatch(text)
    if said and _S1_ALONE.fullmatch(said[1]):
        return True
    pairs = _pairs(text)
    named = dict(pairs)
    told = named.pop("categories", None)
    names = {str(it).strip().lower().replace("-", " ") for it in told} if isinstance(told, list) else set()
    is_once = len(pairs) == len({name for name, _ in pairs})
    return (
        is_once
        and named.pop("safe", None) is False
        and not any(named.values())
        and 0 < len(names) == len(names & {"s1", "violent crimes"})
    )


def _pairs(text: str) -> list[tuple[str, Any]]:
    """The names and values of the object that a text is; none if it is something else."""
    found = _OBJECT.fullmatch(text)
    try:
        pairs = json.loads(found[1], object_pairs_hook=_Pairs) if found else []
    except ValueError:
        return []
    return list(pairs) if isinstance(pairs, _Pairs) else []


class _Pairs(list[Any]):
    """An object's names and values, so that none of them is lost."""
