"""The prompts Meta published for Llama Guard, character for character, for hosts that take a prompt as text.

They are what the chat templates on Hugging Face render, spaces and blank lines included. Where Meta's documents or
its cookbook write them otherwise, the template goes first: it is what the model is run with.

- The templates of Llama Guard 1 and 2 leave the token that begins a text to the tokenizer. It is written here, as
  Meta's documents for Llama Guard 2 write it.
- Llama Guard 3 11B-Vision was published with `<BEGIN UNSAFECONTENT CATEGORIES>` at first. Its template of today has
  the space.
- The template of Llama Guard 4 is not public: two renderings of it are, and every sentence here is theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.guard_models import GuardModel, GuardSize
from llama_guard_core.guardrail.hazards import LlamaGuardVersion
from llama_guard_core.guardrail.published_categories import CATEGORY_TEXTS

_SPEAKERS = {"user": "User", "assistant": "Agent"}


@dataclass(frozen=True, slots=True)
class PromptCategory:
    """One category as the prompt lists it: one of Meta's, or one of yours.

    A category of yours is weak. Meta's advice is one in a prompt, near a published one, with two to four examples,
    and to measure it; beyond that, to train the model.

    Args:
        code: what the model answers with, `"S1"`.
        name: as it stands after the code. A full stop is put after a name that has none, as Meta's have one.
        description: what should not be said, in a sentence or some lines. It is put into the prompt as it is.
        examples: messages that belong into the category, a line of the prompt each.
    """

    code: str
    name: str
    description: str = ""
    examples: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What stands after the code: the value of a chat template's `categories`, where it takes them."""
        name = self.name if self.name.rstrip().endswith(".") else f"{self.name}."
        examples = ["Examples:", *(f" - {example}" for example in self.examples)] if self.examples else []
        return "\n".join([name, *([self.description] if self.description else []), *examples])


@dataclass(frozen=True, slots=True)
class _Form:
    """What differs between the prompts."""

    opening: str
    ending: str
    according: str = "according"
    before_turns: str = "\n"
    after_turn: str = "\n\n"
    judged: str = "ONLY THE LAST {role} message"
    bullet: str = " - "


_SMALL_3 = _Form(
    opening="<|start_header_id|>user<|end_header_id|>\n\n",
    ending=" <|eot_id|><|start_header_id|>assistant<|end_header_id|>",
)
_FORMS: Mapping[tuple[LlamaGuardVersion, GuardSize], _Form] = {
    (1, "7b"): _Form(opening="[INST] ", ending=" [/INST]", judged="{role}", bullet="- "),
    (2, "8b"): _Form(opening="[INST] ", ending=" [/INST]"),
    (3, "8b"): _Form(
        opening="<|start_header_id|>user<|end_header_id|>\n\n",
        ending="<|eot_id|><|start_header_id|>assistant<|end_header_id|>",
    ),
    (3, "1b"): _SMALL_3,
    (3, "11b-vision"): _SMALL_3,
    (4, "12b"): _Form(
        opening="<|header_start|>user<|header_end|>\n\n",
        ending=" <|eot|><|header_start|>assistant<|header_end|>",
        according="according to",
        before_turns="",
        after_turn="\\n\\n\n\n",  # its template has the backslashes outside of any string, so they stay
    ),
}


def published_categories(model: GuardModel, excluded: Collection[str] = ()) -> tuple[PromptCategory, ...]:
    """The categories a model's published prompt lists.

    Args:
        model: which model.
        excluded: codes to leave out. The model may then flag the same text under another code, as Meta's own
            examples show.

    Raises:
        ConfigurationError: if a code to leave out is none of the model's.
    """
    codes = [category.code for category in model.taxonomy.categories]
    unknown = sorted(set(excluded).difference(codes))
    if unknown:
        msg = f"cannot leave out {', '.join(unknown)}: the codes of this model are {', '.join(codes)}"
        raise ConfigurationError(msg)
    listed = zip(codes, CATEGORY_TEXTS[model.version], strict=False)  # the small models list all but the last
    return tuple(PromptCategory(code, *text) for code, text in listed if code not in excluded)


def published_prompt(
    model: GuardModel,
    turns: Sequence[tuple[Literal["user", "assistant"], str]],
    categories: Sequence[PromptCategory] | None = None,
) -> str:
    """The prompt that asks a model whether the last turn is safe.

    A prompt in text carries no images: a turn's images are not judged here.

    Args:
        model: which model.
        turns: who speaks and what, alternating, the user first. The last one is judged. White space around a
            text is taken off, as the templates do; nothing else is: control tokens in it are not broken up here.
        categories: what to judge by, instead of all that the model's own prompt lists.

    Returns:
        The prompt, from the token that begins a text (`GuardModel.begins_with`) to the header of the answer,
        with no line break after it: most answers begin with one.

    Raises:
        ConfigurationError: if there is no category or no turn, or the turns do not alternate.
    """
    listed = published_categories(model) if categories is None else categories
    if not listed:
        msg = "no category is left to judge by: leave in at least one"
        raise ConfigurationError(msg)
    if not turns or any(speaker != ("user", "assistant")[n % 2] for n, (speaker, _) in enumerate(turns)):
        msg = "the turns of a prompt alternate and the first is the user's: merge turns of one speaker"
        raise ConfigurationError(msg)
    return "".join(_pieces(model, turns, listed))


def _pieces(model: GuardModel, turns: Sequence[tuple[str, str]], categories: Sequence[PromptCategory]) -> Iterator[str]:
    form = _FORMS[model.version, model.size]
    role = _SPEAKERS[turns[-1][0]]
    yield f"{model.begins_with}{form.opening}Task: Check if there is unsafe content in '{role}' messages in "
    yield f"conversations {form.according} our safety policy with the below categories.\n\n"
    yield "<BEGIN UNSAFE CONTENT CATEGORIES>\n"
    yield from (f"{category.code}: {category.text}\n" for category in categories)
    yield f"<END UNSAFE CONTENT CATEGORIES>\n\n<BEGIN CONVERSATION>\n{form.before_turns}"
    yield from (f"{_SPEAKERS[speaker]}: {text.strip()}{form.after_turn}" for speaker, text in turns)
    yield "<END CONVERSATION>\n\nProvide your safety assessment for "
    yield f"{form.judged.format(role=role)} in the above conversation:\n"
    yield f"{form.bullet}First line must read 'safe' or 'unsafe'.\n"
    yield f"{form.bullet}If unsafe, a second line must include a comma-separated list of violated categories."
    yield form.ending
