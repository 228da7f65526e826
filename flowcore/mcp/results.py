"""A call's result, as a tool's value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flowcore.agents.tools import ToolOutputImageDict, ToolOutputTextDict

if TYPE_CHECKING:
    from mcp.types import CallToolResult, ContentBlock


def output_of(result: CallToolResult, use_structured_content: bool) -> Any:
    """What the model is told: one content part, or the list of them.

    With ``use_structured_content``, the structured content as JSON text where there is any and the call went well: the
    words of an error stand in its content. What is neither text nor image (audio, resources) is told as JSON text.
    """
    if use_structured_content and result.structured_content and not result.is_error:
        return json.dumps(result.structured_content)
    parts = [_part(block) for block in result.content]
    return parts[0] if len(parts) == 1 else parts


def _part(block: ContentBlock) -> ToolOutputTextDict | ToolOutputImageDict:
    if block.type == "text":
        return {"type": "text", "text": block.text}
    if block.type == "image":
        return {"type": "image", "image_url": f"data:{block.mime_type};base64,{block.data}"}
    return {"type": "text", "text": block.model_dump_json(by_alias=True, exclude_none=True)}
