"""From a request to its place in the cache: who it is for, which policy holds, under which key its answer lies."""

import msgspec

from ostinato import families, routing
from ostinato.cache import Scope, admission, directives, fingerprint, scope
from ostinato.core.errors import Invalid
from ostinato.gateway import controls, lottery, prompting
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.wire.model import ChatRequest

_MOST_TAGS = 16


def name_parties(turn: Turn, body_user: str | None, secret: bytes) -> None:
    """Read from our headers, and ``user`` of the body, for whom and in which conversation the caller asks.

    Whoever is named is written down by digest, whatever the policy's scope, and before anything can refuse the request:
    it is how their rows are found when they are to be forgotten.
    """
    read = turn.controls
    turn.user = (controls.text(read, b"ostinato-user") if read.ours is not None else "") or body_user or ""
    caller = turn.caller
    if turn.user and caller is not None:
        turn.user_digest = scope.user_digest(Scope(caller.org, caller.project, turn.user), secret)
    if read.ours is None:
        return
    turn.session = controls.text(read, b"ostinato-session")
    turn.context = controls.text(read, b"ostinato-context")
    tags = tuple(tag for tag in (part.strip() for part in controls.text(read, b"ostinato-tags").split(",")) if tag)
    if len(tags) > _MOST_TAGS:
        raise Invalid(f"ostinato-tags names {len(tags)} tags; at most {_MOST_TAGS} are kept.", param="ostinato-tags")
    turn.tags = tags
    turn.intent = controls.text(read, b"ostinato-intent")


def address(turn: Turn, rooms: Rooms, request: ChatRequest) -> None:
    """Choose the targets and work out policy, scope, generation and key; say why where the cache takes no part."""
    caller, route, policy = turn.caller, turn.route, turn.policy
    assert caller is not None and route is not None and policy is not None
    turn.directives = asked = directives.parse(turn.controls.cache_control, policy)
    turn.scope = within = scope.scope_of(
        caller, user=turn.user, session=turn.session, context=turn.context, policy=policy
    )
    turn.said = fingerprint.said(request)
    turn.fingerprint = fingerprint.fingerprint(with_headers(request, turn), turn.said)
    prompt = turn.prompt
    turn.family = families.key_of(request) if prompt is None else families.key_of(request, prompt.prompt, prompt.number)
    seed = turn.session.encode() or turn.fingerprint
    if route.trials and turn.trip is None:
        # By what conversations are told apart, which the raw-body key has whole: a user may stand in the body.
        route, turn.update = routing.trials.drawn(
            route, turn.intent, turn.session.encode() or turn.user.encode() or seed
        )
        turn.route = route
    turn.targets = rooms.router.draw(route, seed)
    turn.bypass = admission.eligible(request, policy, caller, within, asked)
    control = (turn.prompt is not None and turn.prompt.arm == "control") or turn.update.startswith("control")
    if not turn.bypass and control and not asked.only_if_cached:
        # A canary starts with an empty cache: it is compared with a control that has none.
        turn.bypass = "control"
    lottery.draw(turn, rooms, asked)
    if within is None:
        return
    drawn = routing.key_digest(route, turn.targets[0])
    turn.generation = fingerprint.generation(
        release=prompting.generation(turn), route_digest=drawn, policy_version=policy.version, epoch=rooms.cache.epoch
    )
    turn.scope_digest = scope.digest(within)
    turn.key = fingerprint.key(
        within, turn.fingerprint, alias=route.alias, route_digest=drawn, generation=turn.generation
    )


def with_headers(request: ChatRequest, turn: Turn) -> ChatRequest:
    """The request with the headers that the provider will see: they shape the answer, so they are fingerprinted."""
    if turn.controls.forwarded is None:
        return request
    forwarded = controls.forwarded(turn.controls)
    return msgspec.structs.replace(request, extra={**(request.extra or {}), "headers": forwarded})
