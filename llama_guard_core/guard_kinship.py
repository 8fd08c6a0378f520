"""Which guards may stand in for one another: those whose codes mean the same hazards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.guard_models import GuardModel
from llama_guard_core.guardrail.hazards import Taxonomy
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.routing import ModelVariant

_VARIANTS: tuple[str, ...] = get_args(get_args(ModelVariant)[0])


def is_kindred(model: str, taxonomy: Taxonomy) -> bool:
    """Whether an id names a Llama Guard whose codes mean what they mean in a taxonomy."""
    try:
        return have_same_codes(GuardModel.named(model).taxonomy, taxonomy)
    except ConfigurationError:
        return False


def have_same_codes(one: Taxonomy, other: Taxonomy) -> bool:
    """Whether no code means one hazard here and another there. The smaller Llama Guard 3 models lack the last."""
    names = {category.code: category.name for category in one.categories}
    shared = [category for category in other.categories if category.code in names]
    return bool(shared) and all(names[category.code] == category.name for category in shared)


def check_routers_own(
    host: Host, taxonomy: Taxonomy, variant: ModelVariant | None, fallback_models: Sequence[str]
) -> None:
    """Refuse what would turn a guard's call into another model's, and a router's settings elsewhere.

    Raises:
        ConfigurationError: naming the setting.
    """
    if variant is not None and variant.lower() not in _VARIANTS:
        msg = f"variant: {variant!r} is none of {', '.join(_VARIANTS)}"
        raise ConfigurationError(msg)
    if not host.is_router and (fallback_models or (variant or "balanced").lower() != "balanced"):
        msg = f"variant and fallback_models are OpenRouter's; {host.name} does not know them"
        raise ConfigurationError(msg)
    for model in fallback_models:
        if not is_kindred(model, taxonomy):
            msg = f"fallback_models: {model!r} is no Llama Guard whose codes mean the same; a chat model judges nothing"
            raise ConfigurationError(msg)


def check_codes_agree(policy: Policy, taxonomies: Sequence[Taxonomy]) -> None:
    """Refuse a policy that names hazards by codes which mean different hazards at different hosts.

    Raises:
        ConfigurationError: naming the code.
    """
    for code in policy.hazards_named:
        names = {category.name for taxonomy in taxonomies for category in taxonomy.categories if category.code == code}
        if len(names) > 1:
            msg = f"hazards: {code} means {' here and '.join(sorted(names))} there: write the name in place of the code"
            raise ConfigurationError(msg)
