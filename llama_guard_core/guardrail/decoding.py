"""Text in an encoding that a model may read and a guard may not, as plain text.

Only what stands in the text is decoded. What a model is told to put together, decipher or translate by rules of its
own is not found, nor what stands glued to other letters.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from collections.abc import Callable, Collection, Mapping
from typing import Literal

Encoding = Literal["base64", "hex", "percent", "html", "escapes", "rot13", "leetspeak", "reversed"]
"""An encoding that is undone before judging.

- `base64`: eight symbols or more, either alphabet, also in lines as in e-mail.
- `hex`: four bytes or more, as in `62 6f`, `626f` or `0x62, 0x6f`.
- `percent`: `%62%6f`, as in addresses.
- `html`: character references, `&#98;`, `&#x62;` or `&amp;`.
- `escapes`: those of programming languages, `\\x62`, `\\u0062`, `\\u{62}` or `\\U00000062`.
- `rot13`: letters turned by thirteen places. Every text with Latin letters is then asked about once more.
- `leetspeak`: digits for letters, `b0mb`, in texts where a digit touches a letter.
- `reversed`: the text from its end to its beginning. Every text is then asked about once more.
"""

_MOST_ROUNDS = 4  # of what is encoded over and over
_MOSTLY = 0.85

_BASE64 = re.compile(r"(?:[\w+/-]{60,76}\n)+[\w+/-]+={0,2}|[\w+/-]{8,}={0,2}", re.ASCII)
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+")  # the code of a text is as good as never one
_HEX = re.compile(r"(?<![0-9a-z])(?:(?:0x)?[0-9a-f]{2}[ \n,:;-]{0,2}){4,}", re.IGNORECASE | re.ASCII)
_NO_HEX = re.compile("0x|[^0-9a-f]", re.IGNORECASE)
_PERCENT = re.compile(r"(?:%[0-9a-f]{2})+", re.IGNORECASE | re.ASCII)
_REFERENCE = re.compile(
    r"&(?:#0*([0-9]{1,7})|#x0*([0-9a-f]{1,6})|[a-z][0-9a-z]{1,31}(?=;));?", re.IGNORECASE | re.ASCII
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{0*([0-9a-fA-F]{1,6})\}|U([0-9a-fA-F]{8}))")
_LEET = re.compile(r"[a-z][013457@$]|[013457@$][a-z]", re.IGNORECASE | re.ASCII)

_URL_SAFE = str.maketrans("-_", "+/", "\n=")
_LETTER_FOR_DIGIT = str.maketrans("013457@$", "oieastas")
_ROT13 = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "NOPQRSTUVWXYZABCDEFGHIJKLMnopqrstuvwxyzabcdefghijklm"
)


def decodings_of(text: str, encodings: Collection[Encoding]) -> tuple[str, ...]:
    """What comes of decoding a text; nothing, if there is nothing to decode.

    Encoded pieces are decoded where they stand, one within another too, as long as a reader could read the outcome.
    It takes time in proportion to the length of the text and makes no text longer.

    Args:
        text: the text, normalised.
        encodings: those to undo.

    Returns:
        The text with all its pieces decoded; and that text once more for each of the encodings that a text is in as a
        whole (`rot13`, `leetspeak`, `reversed`). None is the text itself, and none is neutralised.
    """
    plain = _pieces_decoded(text, encodings)
    turned = [_pieces_decoded(turn(plain), encodings) for encoding, turn in _TURNED.items() if encoding in encodings]
    return tuple(form for form in dict.fromkeys([plain, *turned]) if form != text)


def readable(encoded: bytes) -> str | None:
    """Bytes as the text they are in UTF-8, if it is mostly printable."""
    text = encoded.decode("utf-8", "replace")
    seen = sum(character.isprintable() or character.isspace() for character in text) - text.count("\ufffd")
    return text if seen >= _MOSTLY * len(text) else None


def _pieces_decoded(text: str, encodings: Collection[Encoding]) -> str:
    pieces = [decode for encoding, decode in _PIECES.items() if encoding in encodings]
    for _ in range(_MOST_ROUNDS):
        before = text
        for decode in pieces:
            text = decode(text)
        if text == before:
            break
    return text


def _of_base64(piece: re.Match[str]) -> str:
    symbols = piece[0].translate(_URL_SAFE)
    if _WORD.fullmatch(symbols):
        return piece[0]
    try:
        return readable(a2b_base64(symbols + "=" * (-len(symbols) % 4))) or piece[0]
    except Error:
        return piece[0]


def _of_hex(piece: re.Match[str]) -> str:
    return readable(bytes.fromhex(_NO_HEX.sub("", piece[0]))) or piece[0]


def _of_percent(piece: re.Match[str]) -> str:
    return readable(bytes.fromhex(piece[0].replace("%", ""))) or piece[0]


def _of_reference(piece: re.Match[str]) -> str:
    if piece[1] or piece[2]:
        return _character(int(piece[1]) if piece[1] else int(piece[2], 16), piece[0])
    from html import unescape  # noqa: PLC0415 - two milliseconds of every program's start, for the few that need it

    return unescape(piece[0])


def _of_escape(piece: re.Match[str]) -> str:
    return _character(int(piece[piece.lastindex or 0], 16), piece[0])


def _character(code: int, otherwise: str) -> str:
    return chr(code) if 0 < code <= 0x10FFFF else otherwise  # noqa: PLR2004 - Unicode's last


_PIECES: Mapping[Encoding, Callable[[str], str]] = {
    "percent": lambda text: _PERCENT.sub(_of_percent, text),
    "html": lambda text: _REFERENCE.sub(_of_reference, text),
    "escapes": lambda text: _ESCAPE.sub(_of_escape, text),
    "hex": lambda text: _HEX.sub(_of_hex, text),
    "base64": lambda text: _BASE64.sub(_of_base64, text),
}
_TURNED: Mapping[Encoding, Callable[[str], str]] = {
    "rot13": lambda text: text.translate(_ROT13),
    "leetspeak": lambda text: text.translate(_LETTER_FOR_DIGIT) if _LEET.search(text) else text,
    "reversed": lambda text: text[::-1],
}
