"""How sure the guard was: the probability of `unsafe`, where a host tells log-probabilities.

It is a hint and not calibrated: nine guards on twelve benchmarks were found over-confident, and worse under attack
(arXiv 2410.10414). Meta describes a score for Llama Guard 1, 2 and 3 (8B) only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from llama_guard_core.token_logprobs import TokenLogProbs

_WORDS = ("unsafe", "safe")


def unsafe_probability(tokens: Sequence[TokenLogProbs]) -> float | None:
    """The probability of `unsafe` against `safe`, 0 to 1, at the token that says which.

    That is the first token with anything in it: Llama Guard begins with line breaks, whose probability is near 1
    whatever the verdict. Where the other word is not among the alternatives, all that is not the chosen one is taken
    for it.

    Args:
        tokens: the tokens of the answer, in order.

    Returns:
        `None` if that token is neither word: some tokenizers write `unsafe` as several, whose probabilities say
        nothing.
    """
    first = next((token for token in tokens if _word(token.token)), None)
    if first is None or _word(first.token) not in _WORDS:
        return None
    found: dict[str, float] = {}
    for text, logprob in (*first.alternatives.items(), (first.token, first.logprob)):
        word = _word(text)
        if word in _WORDS and not math.isnan(logprob):
            found[word] = max(found.get(word, -math.inf), logprob)
    safe, unsafe = (math.exp(min(0.0, found[word])) if word in found else None for word in ("safe", "unsafe"))
    if safe is None and unsafe is None:
        return None
    if safe is None or unsafe is None:
        return unsafe if safe is None else 1.0 - safe
    return unsafe / (safe + unsafe) if safe + unsafe > 0 else None


def _word(token: str) -> str:
    """The token without white space, as tokenizers write it, too."""
    return token.replace("\u0120", " ").replace("\u2581", " ").replace("\u010a", "\n").strip().lower()
