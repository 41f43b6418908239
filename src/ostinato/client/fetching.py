"""What the server's answer to *which version is it now?* does to the shelf; the same for both clients."""

import httpx
import msgspec

from ostinato.client.prompt import Prompt, Told
from ostinato.client.refusals import malformed, refusal
from ostinato.client.settings import Settings
from ostinato.client.shelf import Key, Shelf

_AWAY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that say nothing about the prompt: the server, or something before it, cannot answer now."""


def settled(shelf: Shelf, key: Key, notices: int, response: httpx.Response, settings: Settings) -> Prompt | None:
    """The prompt that the server's response leaves us with; ``None``: ask again.

    304 confirms, 200 replaces; 404 and refusals of the key evict and are raised; what says nothing about the prompt
    lets it be served stale.
    """
    status = response.status_code
    if status == 304 and "if-none-match" in response.request.headers:
        # Nothing to confirm: another thread's 404 has evicted it meanwhile.
        return shelf.confirm(key, notices)
    if status == 200:
        try:
            told = msgspec.json.decode(response.content, type=Told)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return shelf.without_server(key, malformed(settings.base_url))
        return shelf.keep(key, Prompt(told), response.headers.get("etag", ""), notices)
    if status < 400:
        return shelf.without_server(key, malformed(settings.base_url))
    error = refusal(status, response.headers, response.content)
    if status in _AWAY:
        return shelf.without_server(key, error)
    shelf.evict(key)
    raise error
