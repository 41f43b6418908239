"""Talking to a server's control plane: address and key from the environment, errors as the server tells them."""

import asyncio
import contextlib
import os
import tomllib
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

import click
import msgspec

from ostinato import outbound
from ostinato.core.clock import SystemClock
from ostinato.core.errors import Denied, Invalid, OstinatoError, Unavailable

ADDRESS = "OSTINATO_URL"
KEY = "OSTINATO_KEY"
_DEFAULT = "http://127.0.0.1:8000"
_CONFIGURATION = "ostinato.toml"
_TIMEOUT = 30.0
_LONGEST_REFUSAL = 65_536
_LONGEST_LINE = 65_536


class Refused(OstinatoError):
    """The server said no; its own words."""


def call(method: str, path: str, body: object = None, query: Mapping[str, object] | None = None) -> Any:
    """One call of ``/api/v1``; gives the decoded answer, ``None`` where there is none."""
    address, key = _server()
    wanted = {name: _text(value) for name, value in (query or {}).items() if value not in (None, "")}
    url = f"{address}/api/v1{path}" + (f"?{urlencode(wanted)}" if wanted else "")
    data = b"" if body is None else msgspec.json.encode(body)
    return asyncio.run(_call(method, url, data, key, address))


def download(path: str, body: object, file: IO[bytes]) -> bytes:
    """POST to ``/api/v1`` and write what comes to ``file`` as it comes; gives the last line of it."""
    address, key = _server()
    return asyncio.run(_download(f"{address}/api/v1{path}", msgspec.json.encode(body), key, address, file))


def page(path: str) -> str:
    """GET a page of ``/api/v1``: text, as it comes."""
    address, key = _server()
    return asyncio.run(_page(f"{address}/api/v1{path}", key, address))


def own(prefix: str) -> bool:
    """Whether the key that calls are made with is the one of this prefix."""
    return bool(prefix) and os.environ.get(KEY, "").startswith(prefix)


def part(text: str) -> str:
    """A name as a part of a path."""
    return quote(text, safe="")


def _server() -> tuple[str, str]:
    """Address and key, from the environment; the address also from the configuration that lies here."""
    key = os.environ.get(KEY, "")
    if not key:
        raise Denied(f"No key: the environment variable {KEY} is not set.", hint=f"export {KEY}=ost_...")
    return (os.environ.get(ADDRESS) or _configured() or _DEFAULT).rstrip("/"), key


def _configured() -> str:
    """Where ``./ostinato.toml`` has a server on this machine listen; empty: it says nothing, or there is none."""
    try:
        found: dict[str, Any] = tomllib.loads(Path(_CONFIGURATION).read_text("utf-8")).get("server", {})
        host, port = found.get("host", "127.0.0.1"), int(found.get("port", 8000))
    except (OSError, ValueError, AttributeError, TypeError):
        # Whoever writes it is told by `serve` what is wrong with it.
        return ""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - where it listens, not where we do
    return f"http://{host}:{port}" if isinstance(host, str) and port else ""


def _headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "content-type": "application/json", "accept": "application/json"}


@contextlib.asynccontextmanager
async def _client(address: str) -> AsyncGenerator[outbound.Client]:
    """A client whose failures are told with the address."""
    client = outbound.Client(outbound.Settings(), SystemClock())
    await client.start()
    try:
        yield client
    except outbound.OutboundError as error:
        raise Unavailable(
            f"No answer from {address}: {str(error).rstrip('.')}.",
            hint=f"Is `ostinato serve` running? {ADDRESS} tells where.",
        ) from None
    except Invalid as error:
        raise Invalid(f"{ADDRESS} is {address!r}: {error.message}", hint=f"Such as {_DEFAULT}.") from None
    finally:
        await client.close()


async def _call(method: str, url: str, data: bytes, key: str, address: str) -> Any:
    async with _client(address) as client:
        response = await client.request(method, url, data, _headers(key), _TIMEOUT, allow_private=True)
    if response.status >= 400:
        raise _refusal(response.status, response.body)
    return msgspec.json.decode(response.body) if response.body else None


async def _page(url: str, key: str, address: str) -> str:
    async with _client(address) as client:
        response = await client.request("GET", url, b"", _headers(key), _TIMEOUT, allow_private=True)
    if response.status >= 400:
        raise _refusal(response.status, response.body)
    return response.body.decode()


async def _download(url: str, data: bytes, key: str, address: str, file: IO[bytes]) -> bytes:
    last = b""
    async with (
        _client(address) as client,
        client.stream(url, data, _headers(key), _TIMEOUT, allow_private=True) as response,
    ):
        if response.status >= 400:
            raise _refusal(response.status, await response.read(_LONGEST_REFUSAL))
        async for chunk in response:
            file.write(chunk)
            last = (last + chunk)[-_LONGEST_LINE:]
    return last.rstrip(b"\n").rpartition(b"\n")[2]


def _refusal(status: int, body: bytes) -> OstinatoError:
    try:
        told = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return Refused(f"The server answered {status}.")
    return Refused(str(told.get("detail", status)), code=str(told.get("code", "")), hint=str(told.get("hint", "")))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def show(value: Any, as_json: bool, table: Callable[[Any], None]) -> None:
    """Print ``value`` as JSON, or as ``table`` prints it."""
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
    else:
        table(value)


def read_json(text: str) -> Any:
    """JSON given on the command line, or in a file as ``@PATH``."""
    try:
        if text.startswith("@"):
            with click.open_file(text[1:], encoding="utf-8") as file:
                text = file.read()
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, OSError) as error:
        raise Invalid(f"This is not JSON: {error}.", hint="Give an object, or @FILE with one.") from None


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
