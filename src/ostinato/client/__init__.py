"""What callers install: prompts rendered and models called from Python, sync and async.

``Client`` and ``AsyncClient`` (both also in ``ostinato`` itself) speak to one server. A prompt is fetched once, used
for a time, refreshed as soon as the server tells of a change, and served stale while the server is away. Errors are
the kinds of ``core.errors``, as the server itself raises them. Needs ``templates``, ``wire`` and ``core`` only; never
the server's rooms.
"""

from ostinato.client.asking import Asked
from ostinato.client.asynchronous import AsyncClient, AsyncStream
from ostinato.client.blocking import Client, Stream
from ostinato.client.prompt import Prompt, Rendered
from ostinato.client.refusals import InvalidVariables
from ostinato.client.replies import Provenance, Reply, ToolCall
from ostinato.client.shelf import StalePrompt

__all__ = [
    "Asked",
    "AsyncClient",
    "AsyncStream",
    "Client",
    "InvalidVariables",
    "Prompt",
    "Provenance",
    "Rendered",
    "Reply",
    "StalePrompt",
    "Stream",
    "ToolCall",
]
