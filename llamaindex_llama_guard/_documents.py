"""LlamaIndex nodes, as the passages the guard judges: what the model will read of them, each on its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode, Node

from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow, screen_document
from llama_guard_core.messages import Message, Part, Unjudgeable
from llamaindex_llama_guard._conversation import parts_of

METADATA_KEY = "llama_guard"
"""Where a passage that is shown against the guard's advice says so; no model and no embedding reads it."""


def screen_node(policy: Policy, node: BaseNode) -> Flow[Allow | Refuse]:
    """Judge what a model would read of a node."""
    return screen_document(policy, document_of(node))


def document_of(node: BaseNode) -> Message:
    """What a model would read of a node: its text with the metadata that is put beside it, and its images."""
    text = node.get_content(MetadataMode.LLM) or node.get_metadata_str(MetadataMode.LLM)
    return Message("user", (*parts_of([TextBlock(text=text)]), *_media(node)))


def is_remarkable(decision: Allow) -> bool:
    """Whether a passage is shown although somebody should know something about it."""
    return bool(decision.flagged or decision.overruled or decision.error)


def marked(node: BaseNode, decision: Allow | Refuse) -> BaseNode:
    """A copy of the node that says what the guard said of it, for everybody but models and embeddings."""
    return node.model_copy(
        update={
            "metadata": {**node.metadata, METADATA_KEY: _remark(decision)},
            "excluded_llm_metadata_keys": [*node.excluded_llm_metadata_keys, METADATA_KEY],
            "excluded_embed_metadata_keys": [*node.excluded_embed_metadata_keys, METADATA_KEY],
        }
    )


def _remark(decision: Allow | Refuse) -> str:
    """One flat text, since many stores take no other metadata: the hazards' codes, `unsafe` or `unjudged`."""
    if decision.verdict is None:
        return "unjudged"
    return ",".join(category.code for category in decision.verdict.categories) or "unsafe"


def _media(node: BaseNode) -> Iterator[Part]:
    if isinstance(node, ImageNode) and (node.image or node.image_url or node.image_path):
        yield from _image(
            data=node.image.encode() if node.image else None,
            url=node.image_url,
            path=node.image_path,
            mimetype=node.image_mimetype,
        )
    if isinstance(node, Node):
        if image := node.image_resource:
            yield from _image(data=image.data, url=image.url, path=image.path, mimetype=image.mimetype)
        for kind, resource in (("audio", node.audio_resource), ("video", node.video_resource)):
            if resource is not None:
                yield Unjudgeable(kind)


def _image(*, data: bytes | None, url: Any, path: Any, mimetype: str | None) -> tuple[Part, ...]:
    try:
        block = ImageBlock(image=data, url=url, path=path, image_mimetype=mimetype)
    except ValueError:  # such as a path where no file is
        return (Unjudgeable("an image that cannot be read"),)
    return parts_of([block])
