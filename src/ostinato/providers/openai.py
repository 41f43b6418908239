"""Everybody who speaks OpenAI's chat completions. What they spell differently is data in the catalog."""

import msgspec

from ostinato.providers.http import HttpProvider
from ostinato.providers.model import ChatCall
from ostinato.wire.model import Json

_NAMES = ("max_tokens", "max_completion_tokens")


class OpenAI(HttpProvider):
    """OpenAI and its look-alikes."""

    def body(self, call: ChatCall, *, stream: bool) -> bytes:
        body = self._codec.write_request(call.request, call.model, stream=stream)
        kind = self._kind
        name = kind.max_tokens or (kind.max_tokens_translated if call.request.wire != "openai.chat" else "")
        if kind.drop or name:
            body = {key: value for key, value in body.items() if key not in kind.drop}
            if name:
                _rename_bound(body, name)
        return msgspec.json.encode(body)


def _rename_bound(body: Json, name: str) -> None:
    """Use the one name that the provider knows for the bound of the answer."""
    other = _NAMES[1] if name == _NAMES[0] else _NAMES[0]
    if other in body:
        value = body.pop(other)
        body.setdefault(name, value)
