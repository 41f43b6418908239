"""What a request that names a prompt stands for: a version from the snapshot, rendered without I/O.

``model`` may be ``prompt:NAME``, ``prompt:NAME@LABEL`` or ``prompt:NAME@NUMBER``. The arm of a canary is drawn here,
before the cache is asked: by session, else by end user, else by the request itself.
"""

from ostinato.access import Resource, permissions
from ostinato.cache import fingerprint
from ostinato.core.errors import Invalid
from ostinato.gateway import lottery, recording
from ostinato.gateway.replies import Header
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.wire.model import ChatRequest

MARK = "prompt:"


def render(turn: Turn, rooms: Rooms) -> None:
    """Put the prompt that is named before the request's own messages, and say which alias is to be called.

    Raises ``NotFound`` (with the labels that exist), ``Denied``, and ``Invalid`` (422) naming a variable.
    """
    request, caller = turn.request, turn.caller
    assert request is not None and caller is not None
    if not turn.model.startswith(MARK):
        if request.prompt is not None:
            raise Invalid(
                "The body carries `prompt`, but `model` names none.",
                param="prompt",
                hint="Ask for `prompt:NAME` or `prompt:NAME@LABEL` as the model, or leave `prompt` out.",
            )
        turn.alias = turn.model
        return
    pointer = rooms.prompts.value.pointer(caller.project, turn.model[len(MARK) :])
    found = pointer.stable if pointer.canary is None else pointer.draw(_seed(turn, request))
    found = lottery.before(turn, rooms, found, request)
    what = Resource(project=caller.project, intent=found.intent, prompt=found.prompt, label=found.label)
    permissions.require(caller, "prompts:call", what)
    if found.kind == "partial":
        raise Invalid(
            f"{found.prompt!r} is a partial: a part of prompts, not one itself.",
            code="prompt_is_partial",
            param="model",
            hint="Name a prompt that takes it.",
        )
    rendered = found.compiled.render(None if request.prompt is None else request.prompt.get("variables"))
    if not rendered.model:
        raise Invalid(
            f"Version {found.number} of the prompt {found.prompt!r} does not say which model to call.",
            code="prompt_without_model",
            param="model",
            hint="Save a version with an alias as `model` among its params.",
        )
    turn.prompt = found
    if not request.messages and request.prompt is not None:
        turn.variables = request.prompt.get("variables")
    turn.alias = rendered.model
    turn.request = rendered.into(request)


def _seed(turn: Turn, request: ChatRequest) -> bytes:
    """By what the arm is drawn: whoever comes back in the same conversation gets the same one."""
    if turn.session:
        return b"session\x00" + turn.session.encode()
    if turn.user:
        return b"user\x00" + turn.user.encode()
    return fingerprint.fingerprint(request)


def generation(turn: Turn) -> str:
    """What the answers' cache generation is named after beside route and policy: prompt and release, or version."""
    prompt = turn.prompt
    return "" if prompt is None else f"{prompt.prompt}\n{prompt.generation}"


def headers(turn: Turn) -> list[Header]:
    """Which prompt, version, release and arm answers, for which intent, and what its budget leaves."""
    told: list[Header] = []
    prompt = turn.prompt
    if prompt is not None:
        value = f"{prompt.prompt}; version={prompt.number}"
        if prompt.release:
            value += f"; release={prompt.release}"
        if prompt.arm:
            value += f"; arm={prompt.arm}"
        told.append((b"ostinato-prompt", value.encode()))
    if turn.intent:
        told.append((b"ostinato-intent", turn.intent.encode()))
    if turn.capped:
        told.append((b"ostinato-budget", b"max_tokens=%d" % turn.capped))
    if turn.trip is not None or turn.proving is not None:
        told += recording.breaker_headers(turn)
    return told
