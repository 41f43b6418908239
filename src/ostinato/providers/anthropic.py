"""Anthropic and servers that speak its messages."""

import msgspec

from ostinato.providers.http import HttpProvider
from ostinato.providers.model import ChatCall

_COUNTED = frozenset({"model", "messages", "system", "tools", "tool_choice", "thinking", "mcp_servers"})


class Anthropic(HttpProvider):
    """Anthropic's messages. ``anthropic-*`` headers of the caller are passed on, unknown ones too."""

    def count_body(self, call: ChatCall) -> bytes:
        """Only what can be counted: the endpoint refuses fields that shape the answer."""
        body = self._codec.write_request(call.request, call.model, stream=False)
        return msgspec.json.encode({key: value for key, value in body.items() if key in _COUNTED})
