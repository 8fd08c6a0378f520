"""A judged text as the guard is shown it: nothing in it forges the guard's prompt, and nothing in it is hidden.

Llama Guard's templates put a text into the prompt as it is, and hosts read `<|eot|>` in it as the end of a turn. So
control tokens and forged turns are broken up with plain characters, after look-alikes and invisible characters were
resolved, for resolving them can bring a token together. What the guard sees never goes back to the application.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import lru_cache
from math import inf
from typing import Any

from pydantic import BaseModel, ConfigDict

from llama_guard_core.guardrail.decoding import Encoding, decodings_of, readable

_MOST_ACCENTS = 30  # on one letter, as in Unicode's stream-safe text format
_MOST_SELECTORS, _MOST_UNSEEN = 2, 7  # in a row
_MOST_REMEMBERED = 20_000  # characters of a text whose neutralised form is remembered

_CONTROLS = "\x00-\x08\x0e-\x1b\x1f\x7f"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_TAGS = "\U000e0000-\U000e007f"
# Zero-width and bidirectional marks, fillers: nothing a reader sees.
_MARKS = "\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_LETTERS = "0-9A-Za-z\u00c0-\u02af\u0300-\u034e\u0350-\u036f\u0370-\u03ff\u0400-\u052f\u1e00-\u1fff"
# Letters that compatibility normalisation turns into a Latin one: superscripts and subscripts, letter-like symbols,
# Roman numerals, enclosed, full-width and mathematical letters. Not Spanish ordinals, nor ligatures of printed text.
_LOOK_ALIKES = (
    "\u017f\u02b0\u02b2\u02b3\u02b7\u02b8\u02e1-\u02e3\u1d2c-\u1d6a\u1d9c\u1da0\u1dbb\u2071\u207f\u2090-\u209c"
    "\u2102\u210a-\u2113\u2115\u2119-\u211d\u2124\u2128-\u2134\u2139\u2145-\u2149\u2160-\u217f\u249c-\u24e9"
    "\uff21-\uff3a\uff41-\uff5a\U0001d400-\U0001d6a5\U0001f110-\U0001f129\U0001f130-\U0001f149"
)

_INVISIBLE = re.compile(f"[{_CONTROLS}\x80-\x84\x86-\x9f\u00ad{_MARKS}]")
_TAG = re.compile(f"[{_TAGS}]")
_SELECTOR = re.compile(f"[{_SELECTORS}]")
_SELECTORS_IN_A_ROW = re.compile(f"[{_SELECTORS}]{{2,}}")
_UNSEEN = re.compile(f"[{_CONTROLS}\x80-\x84\x86-\x9f\u00ad{_MARKS}{_SELECTORS}{_TAGS}\ud800-\udfff]")
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")
_NEVER_READ = re.compile(f"[{_CONTROLS}\x80-\x84\x86-\x9f\u00ad]")
_FIRST_NUMBERED_SELECTOR = "\U000e0100"
_PUNCTUATION_OF_TOKENS = frozenset("<|>[/]")
_OVERRIDE = re.compile("[\u202d\u202e]")
_WITHOUT_ASCII = re.compile(r"[^\x00-\x7f]{32,}")
_OTHER_NEWLINES = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_NEWLINE = re.compile(f"\r\n|[{_OTHER_NEWLINES}]")
_CONTROL_TOKENS = (
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
_IN_ALL_THAT_FORGES = re.compile(r"[<|\[:]")
# Llama Guard 4's own template writes a literal backslash-n after each message, so both kinds begin a line.
_FORGED_TURNS = tuple(
    re.compile(rf"({newline}[^\S\n]*)((?:user|agent)[^\S\n]*:)", re.IGNORECASE) for newline in (r"\n", r"\\n")
)
_WORD_OF_THE_PROMPT = re.compile(
    "inst|sys|begin|end|conversation|unsafe|content|categories|user|agent|^s$", re.IGNORECASE
)
_LONGEST_WORD_OF_THE_PROMPT = 12

_HIDING = f"{_MARKS}{_SELECTORS}"
_HIDDEN = re.compile(f"[\x1f{_HIDING}{_TAGS}]")
_BLANK = "\x1f"  # a blank in regular expressions, and in no form of a text
_ODD = re.compile(f"[{_LOOK_ALIKES}{_HIDING}{_TAGS}]")
_PIECE = re.compile(
    f"(?P<flag>(?<=\U0001f3f4)[\U000e0030-\U000e0039\U000e0061-\U000e007a]{{3,6}}\U000e007f)"
    f"|(?P<word>(?:(?P<alike>[{_LOOK_ALIKES}])|(?<=[{_LETTERS}])[{_HIDING}]+(?=[{_LETTERS}{_LOOK_ALIKES}]))"
    f"(?:[{_HIDING}]*[{_LETTERS}{_LOOK_ALIKES}])*)"
    f"|(?P<run>[{_HIDING}{_TAGS}]+)"
)
_WORD_SO_FAR = re.compile(f"[{_LETTERS}{_LOOK_ALIKES}{_HIDING}]*\\Z")


class Hardening(BaseModel):
    """In which forms a judged text is put to the guard: each is a question of its own, and one unsafe form is enough.

    Every form has control tokens and forged turns broken up. Letters of other scripts that look like Latin ones are not
    mapped (Cyrillic `\u0430`), nor are spellings that only sound right, or words taken apart with blanks and dots.

    Attributes:
        both_forms: whether a text is judged as it was said, too, where resolving look-alikes and invisible characters
            changes words of it: full-width, mathematical or enclosed Latin letters in a word, an invisible character
            within a word of Latin, Greek or Cyrillic letters, text in tag characters or variation selectors, a
            bidirectional override. Ordinary text has one form.
        decode: encodings that are undone, for one form more where there is something to undo; see `Encoding`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    both_forms: bool = True
    decode: frozenset[Encoding] = frozenset()

    def forms_of(self, text: str, *, longest: float = inf) -> tuple[str, ...]:
        """The forms of a text that are judged, the normalised one first, no two the same.

        Args:
            text: what was said.
            longest: characters of the longest text that is judged. Of one that is longer there is the normalised form
                only: it will not be judged, so nothing more is worked out.
        """
        normalised = neutralise(text)
        if len(normalised) > longest:
            return (normalised,)
        forms = [normalised]
        if self.both_forms and not text.isascii():
            forms.append(_as_it_was_said(text) or normalised)
        if self.decode:
            forms += map(neutralise, decodings_of(normalised, self.decode))
        return tuple(dict.fromkeys(forms))

    @classmethod
    def of(cls, given: Hardening | dict[str, Any] | None) -> Hardening:
        """The hardening a user gave, in either form, or the default."""
        return given if isinstance(given, Hardening) else cls.model_validate(given or {})


def neutralise(text: str) -> str:
    """Break up whatever in `text` could be taken for the guard's own prompt.

    Compatibility look-alikes and invisible characters are resolved first, because doing so can bring a
    control token together; text hidden in the characters of Unicode's tag block or in variation selectors is
    made visible so that it is judged. Nothing is deleted that a model could read, and doing it twice
    changes nothing more. Half a surrogate pair becomes U+FFFD; of the accents piled on one letter, thirty stay.

    It does not undo encodings (base64, leetspeak) and does not map letters of other scripts.
    """
    return _remembered(text) if len(text) <= _MOST_REMEMBERED else _neutralised(text)


def broken_up(text: str) -> str:
    """A form of a text, or a piece of one, with its control tokens and forged turns broken up.

    What nobody sees counts as blank: a turn is not forged behind it either.
    """
    hidden = iter(_HIDDEN.findall(text))
    broken = _with_tokens_broken(_HIDDEN.sub(_BLANK, text))
    return re.sub(_BLANK, lambda _: next(hidden), broken)


def _with_tokens_broken(text: str) -> str:
    if not _IN_ALL_THAT_FORGES.search(text):
        return text
    for pattern, broken in _CONTROL_TOKENS:
        text = pattern.sub(broken, text)
    text = f"\n{text}"
    for pattern in _FORGED_TURNS:
        text = pattern.sub(r"\1> \2", text)
    return text[1:]


def _neutralised(text: str) -> str:
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return _with_tokens_broken(text)
    return _with_tokens_broken(_with_plain_newlines(_normalised(text)))


# An agent asks about the same history at every step.
_remembered = lru_cache(maxsize=512)(_neutralised)


def _with_plain_newlines(text: str) -> str:
    return _NEWLINE.sub("\n", text) if any(newline in text for newline in _OTHER_NEWLINES) else text


def _normalised(text: str) -> str:
    """A text with its look-alikes and invisible characters resolved, until nothing is left to resolve."""
    while not text.isascii() or _UNSEEN.search(text):
        characters = "".join(set(text))  # few, and most texts have none of those that are looked for
        if _UNSEEN.search(characters):
            text = _made_visible(text, characters)
            continue
        before = text
        text = unicodedata.normalize("NFKC", _with_fewer_accents(text, characters))
        if text == before:
            break
    return text


def _made_visible(text: str, characters: str) -> str:
    """A text without characters that nobody sees; what they spell is written out."""
    if _HALF_A_PAIR.search(characters):
        text = _with_whole_characters(text)
    if _TAG.search(characters):
        text = _TAG.sub(_of_tag, text)
    text = _INVISIBLE.sub("", text)
    if _SELECTOR.search(characters):
        text = _SELECTOR.sub("", _SELECTORS_IN_A_ROW.sub(_of_selectors, text))
    return text


def _with_whole_characters(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _of_tag(tag: re.Match[str]) -> str:
    """A tag character as the ASCII character it stands for."""
    code = ord(tag[0]) - 0xE0000
    return chr(code) if 0x20 <= code < 0x7F else ""  # noqa: PLR2004 - the printable ones


def _of_selectors(run: re.Match[str]) -> str:
    """Variation selectors as the text whose bytes they are numbered by, if it is one."""
    numbers = (ord(selector) - (0xFE00 if selector < "\uff00" else 0xE0100 - 16) for selector in run[0])
    return readable(bytes(numbers)) or ""


def _with_fewer_accents(text: str, characters: str) -> str:
    # Normalising takes time in the square of the longest run of accents: half a minute for 200,000 of them.
    accents = {it for it in characters if unicodedata.combining(unicodedata.normalize("NFKD", it)[0])}
    return _WITHOUT_ASCII.sub(lambda run: _fewer_accents(run[0], accents), text) if accents else text


def _fewer_accents(text: str, accents: Collection[str]) -> str:
    kept, number = [], 0
    for character in text:
        number = number + 1 if character in accents else 0
        if number <= _MOST_ACCENTS:
            kept.append(character)
    return "".join(kept)


def _as_it_was_said(text: str) -> str | None:
    """A text with the words left as they are that normalising would change, if that matters; the rest normalised."""
    characters = "".join(set(text))
    if _HALF_A_PAIR.search(characters):
        text = _with_whole_characters(text)
    elif not _ODD.search(characters):
        return None
    text = _with_fewer_accents(_NEVER_READ.sub("", text), characters)
    pieces = [*_odd_pieces(text)]
    if not any(map(_matters, pieces)):
        return None
    written, end = [], 0
    for piece in pieces:
        if _matters(piece) or (piece["alike"] and not _is_of_the_prompt(piece)):
            written += [_normalised(text[end : piece.start()]), piece[0]]
            end = piece.end()
    return broken_up(_with_plain_newlines("".join([*written, _normalised(text[end:])])))


def _odd_pieces(text: str) -> Iterator[re.Match[str]]:
    odd = _ODD.search(text)
    while odd:
        piece = _PIECE.match(text, odd.start())
        if piece:
            yield piece
        odd = _ODD.search(text, (piece or odd).end())


def _matters(piece: re.Match[str]) -> bool:
    """Whether a reader of the piece may read something else than its normalised form, and it forges nothing."""
    if piece["word"]:
        is_word = not piece["alike"] or len(_HIDDEN.sub("", _word_around(piece)).strip("0123456789")) > 1
        return is_word and not _is_of_the_prompt(piece)
    start, end = piece.span()
    before, after = piece.string[max(0, start - 1) : start], piece.string[end : end + 1]
    is_in_token = _PUNCTUATION_OF_TOKENS.intersection(before + after)
    return not piece["flag"] and not is_in_token and _may_spell(piece[0], before)


def _is_of_the_prompt(piece: re.Match[str]) -> bool:
    return bool(_WORD_OF_THE_PROMPT.search(_normalised(_word_around(piece))))


def _word_around(piece: re.Match[str]) -> str:
    """The letters of a piece, and as many of those just before it as a word of the prompt could have."""
    start, end = piece.span()
    so_far = _WORD_SO_FAR.search(piece.string, max(0, start - _LONGEST_WORD_OF_THE_PROMPT), start)
    return (so_far[0] if so_far else "") + piece.string[start:end]


def _may_spell(run: str, before: str) -> bool:
    """Whether characters that nobody sees could be there to be read: more than ordinary text has in a row."""
    selectors = len(_SELECTOR.findall(run))
    if max(run) >= _FIRST_NUMBERED_SELECTOR and not (selectors == 1 and _is_ideograph(before)):
        return True
    return selectors > _MOST_SELECTORS or len(run) > _MOST_UNSEEN or bool(_OVERRIDE.search(run) or _TAG.search(run))


def _is_ideograph(character: str) -> bool:
    return bool(character) and unicodedata.name(character, "").startswith("CJK")
