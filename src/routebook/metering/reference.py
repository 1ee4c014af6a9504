"""The text that the reference tokenizer counts: what was said, without the wrapping that differs by provider. Pure.

Prompt: the text of all messages in order, tool arguments and tool results included, and the tools' definitions.
Images, audio and files have no reference count. Money never follows these counts.
"""

from __future__ import annotations

from routebook.core.call import Chat, Message
from routebook.wire import codec

TOKENIZER = "o200k_base"


def prompt_text(chat: Chat) -> str:
    """One text to count for the whole prompt; parts are joined by line breaks."""
    parts = [piece for message in chat.messages for piece in _said(message)]
    parts += [codec.encode(tool.function).decode() for tool in chat.tools or () if tool.function is not None]
    return "\n".join(parts)


def _said(message: Message) -> list[str]:
    pieces: list[str] = []
    if isinstance(message.content, str):
        pieces.append(message.content)
    elif message.content is not None:
        pieces += [part.text for part in message.content if part.text]
    pieces += [text for text in (message.reasoning or message.reasoning_content, message.refusal) if text]
    for tool in message.tool_calls or ():
        pieces += [tool.function.name, tool.function.arguments]
    return pieces
