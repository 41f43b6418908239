"""Feedback, and datasets there and back: what is sent, written once for both clients.

Each is a generator of requests that is sent the decoded answers: the clients only carry them.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from ostinato.client.refusals import malformed, refusal
from ostinato.client.replies import Provenance, Reply
from ostinato.core import ids
from ostinato.core.errors import Conflict, Invalid, OstinatoError
from ostinato.wire.model import Json

_PART, _PART_BYTES = 500, 800_000
"""Most examples, and bytes of them, in one request."""
_PAGE = 500
_FIELDS: Final = frozenset({"inputs", "reference", "metadata", "passages", "group", "stratum", "source"})

T = TypeVar("T")


class Request(NamedTuple):
    """One call of the server."""

    method: str
    path: str
    body: Json | None = None
    query: dict[str, str] = {}


Steps: TypeAlias = Generator[Request, Any, T]


class Result(NamedTuple):
    """The end of the steps."""

    value: Any


def proceed(steps: Steps[Any], answer: Any, error: OstinatoError | None) -> Request | Result:
    """The next request after an ``answer`` or an ``error`` (at first: neither), or what it all comes to."""
    try:
        return steps.send(answer) if error is None else steps.throw(error)
    except StopIteration as end:
        return Result(end.value)


def content(wanted: Request) -> dict[str, Any]:
    """Query and body, as httpx takes them."""
    if wanted.body is None:
        return {"params": wanted.query}
    try:
        data = msgspec.json.encode(wanted.body)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise Invalid(f"The request cannot be sent as JSON: {error}.") from None
    return {"params": wanted.query, "content": data, "headers": {"content-type": "application/json"}}


def decoded(address: str, status: int, headers: Mapping[str, str], data: bytes) -> Any:
    """The answer of the server at ``address``. Raises what it refuses."""
    if status >= 400:
        raise refusal(status, headers, data)
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise malformed(address) from None


def feedback(
    about: str | Reply | Provenance | None,
    value: bool | float | str | None,
    *,
    name: str,
    label: str,
    comment: str,
    outcome: str,
    outcome_value: bool | float,
    session: str = "",
    at: int | str | None = None,
    request_id: str = "",
) -> Steps[tuple[str, ...]]:
    """What somebody thought of an answer, or of a conversation; gives the ids of the signals."""
    if request_id and about is not None:
        raise Invalid("Name the request once.", param="request_id", hint="Its reply or its id comes first.")
    about = request_id or about
    if (about is None) != bool(session):
        raise Invalid(
            "Feedback is about one request, or about one session.",
            param="about",
            hint='feedback(reply, True), feedback(request_id="...", value=True), feedback(session="...", value=True).',
        )
    if value is None and not (label or comment or outcome):
        raise Invalid(
            "Feedback says what somebody thought: a value, a label, a comment or an outcome.",
            param="value",
            hint='value=True, "up" or 0 to 1; or outcome="resolved".',
        )
    if isinstance(about, Reply):
        about = about.provenance
    identifier = about.request_id if isinstance(about, Provenance) else about
    if not identifier and not session:
        raise Invalid("The request has no id that feedback could name.", param="about")
    # A caller's own x-request-id comes back instead of the server's.
    which = "request_id" if identifier and ids.is_id(identifier) else "client_request_id"
    if session:
        which, identifier = "session", session
    body: Json = {which: identifier, "name": name, "value": value, "label": label, "comment": comment}
    if outcome:
        body["outcome"] = {"type": outcome, "value": outcome_value} | ({} if at is None else {"at": at})
    told = yield Request("POST", "/v1/feedback", body)
    return tuple(str(one) for one in told["signals"])


def push(
    name: str,
    examples: Iterable[Mapping[str, Any]],
    *,
    base: int | str | None,
    note: str,
    shares: Mapping[str, float] | None,
    project: str,
) -> Steps[Json]:
    """A new version of a dataset, which is made where there is none; gives the version as the server tells it."""
    query = {"project": project} if project else {}
    parts = list(_parts(examples))
    try:
        yield Request("POST", "/api/v1/datasets", {"name": name, **({"shares": dict(shares)} if shares else {})}, query)
    except Conflict as error:
        if error.code != "dataset_exists":
            raise
    path = f"/api/v1/datasets/{quote(name, safe='')}/versions"
    about: Json = {"base": base, "note": note}
    if len(parts) <= 1:
        return (yield Request("POST", path, {**about, "examples": parts[0] if parts else []}, query))
    made = yield Request("POST", path, {**about, "open": True}, query)
    at = f"{path}/{made['number']}"
    try:
        for some in parts:
            yield Request("POST", f"{at}/examples", {"examples": some}, query)
        return (yield Request("POST", f"{at}/seal", None, query))
    except OstinatoError:
        # Half a version is of no use; why it is only half is what counts.
        yield Request("DELETE", at, None, query)
        raise


def pull(name: str, version: int | None, split: str | None, *, project: str) -> Steps[list[Json]]:
    """The examples of a version that still have their texts; those of the sealed holdout are never given."""
    query = {"project": project} if project else {}
    path = f"/api/v1/datasets/{quote(name, safe='')}"
    if version is None:
        version = (yield Request("GET", path, None, query))["latest"]
    found: list[Json] = []
    more = {**query, "limit": str(_PAGE), **({"split": split} if split else {})}
    while True:
        page = yield Request("GET", f"{path}/versions/{version}/examples", None, more)
        found += [one for one in page["items"] if not one.get("erased")]
        if page["next"] is None:
            return found
        more["after"] = page["next"]


def _parts(examples: Iterable[Mapping[str, Any]]) -> Generator[Sequence[Json]]:
    some: list[Json] = []
    size = 0
    for number, one in enumerate(examples, 1):
        unknown = sorted(set(one) - _FIELDS - {"id", "digest", "split"})
        if unknown:
            raise Invalid(f"Example {number} has an unknown field {unknown[0][:40]!r}.", param="examples")
        plain = {field: value for field, value in one.items() if field in _FIELDS}
        try:
            length = len(msgspec.json.encode(plain))
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise Invalid(f"Example {number} cannot be sent as JSON: {error}.", param="examples") from None
        if some and (len(some) >= _PART or size + length > _PART_BYTES):
            yield some
            some, size = [], 0
        some.append(plain)
        size += length
    if some:
        yield some
