"""One recorded request after the other, as the gateway would have taken them: the steps of its pipeline, offline.

Resolve, inspect, address, look up, offer: with the gateway's own routing, intents, checks, scope, fingerprint and
admission, in its order (``gateway.pipeline``). No model is asked: where it would be, the recorded answer is taken.
"""

from collections import Counter

import msgspec

from ostinato import checks, families, routing, wire
from ostinato.access.model import Caller
from ostinato.assessing.model import Exchange, Rules
from ostinato.assessing.pricing import Pricing
from ostinato.assessing.shelf import Shelf
from ostinato.cache import admission, fingerprint, scope
from ostinato.cache.model import Policy
from ostinato.core import ids
from ostinato.core.errors import OstinatoError
from ostinato.families import OTHER, Families
from ostinato.routing.catalog import sealed
from ostinato.routing.model import Route, Target
from ostinato.traces import AttemptRow, CallRow
from ostinato.wire.model import Answer, ChatRequest, Usage

ORG = PROJECT = "assessed"
_SECRET = bytes(32)
"""Digests of users live as long as this run."""
_ROUTES = 10_000
_SUMS = 20_000
_BATCH = 500
_FAILED = 400
_SAMPLE = 200
_LONGEST_SCANNED = 4_000


class Moving:
    """A clock that stands where the replay is."""

    def __init__(self) -> None:
        self.at = 0

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.at / 1e6

    async def sleep(self, seconds: float) -> None:
        self.at += int(seconds * 1e6)


class Sum(msgspec.Struct):
    """Of a family."""

    requests: int = 0
    spent: int = 0
    saved: int = 0
    model: str = ""
    intent: str = ""
    policy: Policy = Policy()
    sample: str = ""


class Counts(msgspec.Struct):
    """What the replay has seen."""

    requests: int = 0
    first: int = 0
    last: int = 0
    spent: int = 0
    priced: int = 0
    """Tokens whose price is known."""
    tokens: int = 0
    estimated: int = 0
    no_answer: int = 0
    no_end: int = 0
    no_user: int = 0
    no_time: int = 0
    no_alias: int = 0
    failed: int = 0
    not_eligible: Counter[str] = msgspec.field(default_factory=Counter)
    not_kept: Counter[str] = msgspec.field(default_factory=Counter)
    unpriced: Counter[str] = msgspec.field(default_factory=Counter)


class Replay:
    """Takes requests in order of time. ``families`` is told of them as of a gateway's calls."""

    def __init__(self, rules: Rules, watching: Families, clock: Moving, *, most: int, samples: bool = False) -> None:
        self._rules = rules
        self._families = watching
        self._clock = clock
        self._samples = samples
        self._pricing = Pricing(rules.prices)
        self._router = routing.Router({}, clock, routing.Settings())
        self._routes: dict[tuple[str, str], Route] = {}
        self._caller = Caller(key_id="", key_prefix="", org=ORG, project=rules.project or PROJECT)
        self._rows: list[CallRow] = []
        self._waiting = 0
        self._window = int(rules.families.window_hours * 3_600e6)
        self._flushed = clock.now()
        self.counts = Counts()
        self.sums: dict[str, Sum] = {}
        self.user, self.anybody = Shelf(most), Shelf(most)
        """What would be kept where end users have entries of their own, and where all share them."""
        self.declared = Shelf(most)
        """In the scope that is declared for each."""

    def take(self, one: Exchange) -> None:
        """The next request."""
        self._turn_to(one.at)
        self._seen(one)
        route, known = self._route(one)
        policy, intent, held = self._policy(one, route)
        request, answer, no_store = self._inspected(one, policy)
        usage, cost = self._priced(one, route, request, answer, configured=known)
        if request is None:
            self.counts.not_eligible["checks"] += 1
            return
        said = fingerprint.said(request)
        printed = fingerprint.fingerprint(request, said)
        family = families.key_of(request)
        reason = no_store or ("held" if held else self._not_kept(one, request, answer, policy))
        hit = False
        for shelf, wanted in ((self.declared, policy.scope), (self.user, "user"), (self.anybody, "project")):
            chosen = policy if policy.scope == wanted else _scoped(policy, wanted)
            within = scope.scope_of(self._caller, user=one.user, session=one.session, context="", policy=chosen)
            why = admission.eligible(request, chosen, self._caller, within)
            if why or within is None:
                if shelf is self.declared:
                    self.counts.not_eligible[why] += 1
                continue
            drawn = self._router.draw(route, one.session.encode() or printed)[0]
            route_digest = routing.key_digest(route, drawn)
            made = fingerprint.generation(
                release="", route_digest=route_digest, policy_version=chosen.version, epoch=self._rules.epoch
            )
            key = fingerprint.key(within, printed, alias=route.alias, route_digest=route_digest, generation=made)
            found = shelf.ask(key, one.at, chosen, cost, keeps=not reason)
            if shelf is self.declared:
                hit = found
                if reason and not found:
                    self.counts.not_kept[reason] += 1
        self._sum(one, family, intent, policy, cost if hit else 0, cost)
        self._tell(one, request, answer, route, printed, family, intent, usage, cost)

    # -- the pipeline's steps --------------------------------------------------------------------------------------

    def _route(self, one: Exchange) -> tuple[Route, bool]:
        """What the model's name stands for, and whether that is declared; else it stands for itself."""
        model = one.request.model
        if self._rules.catalog is not None:
            route = self._rules.catalog.get(self._caller.project, model)
            if route is not None and route.kind == "chat":
                return route, True
            self.counts.no_alias += 1
        made = self._routes.get((one.provider, model))
        if made is None:
            if len(self._routes) >= _ROUTES:
                self._routes.clear()
            target = Target(one.provider or "unknown", model)
            made = self._routes[one.provider, model] = sealed(Route(alias=model, targets=(target,)))
        return made, False

    def _policy(self, one: Exchange, route: Route) -> tuple[Policy, str, bool]:
        """The policy that holds, the intent, and whether answers wait for a person's word."""
        project, intents = self._caller.project, self._rules.intents
        policy = self._rules.policies.for_(project, route.alias)
        if not (one.intent or intents.all):
            return policy, "", False
        try:
            found = intents.for_request(project, one.intent, None, route.alias)
        except OstinatoError:
            return policy, "", False
        key = "" if found is None else found.key
        held = found is not None and bool(found.declared.review.hold)
        return intents.policy(project, key, policy), key, held

    def _inspected(self, one: Exchange, policy: Policy) -> tuple[ChatRequest | None, Answer | None, str]:
        """Request and answer as the rules let them pass (``None``: refused), and why the answer is not kept."""
        answer = None if one.answer is None else wire.decode_answer(one.answer)
        checker = self._rules.checkers.of(policy.checks) if policy.checks else None
        if checker is None:
            return one.request, answer, ""
        verdict = checker.input(one.request)
        if verdict.action == "block":
            return None, answer, "checks"
        why = "checks" if verdict.action == "no-store" else ""
        if answer is not None:
            out = checker.output(answer)
            answer = out.answer
            why = "checks" if out.action in ("block", "no-store") else why
        return verdict.request, answer, why

    def _not_kept(self, one: Exchange, request: ChatRequest, answer: Answer | None, policy: Policy) -> str:
        """Why the recorded answer may not be kept. One that was not recorded is held to be good."""
        if one.status >= _FAILED:
            return "error"
        if answer is None:
            return ""
        return admission.admissible(
            wire.summary(answer),
            policy=policy,
            is_fallback=False,
            status=200,
            complete=True,
            size=len(wire.encode_answer(answer)),
            request=request,
            answer=answer,
        )

    def _priced(
        self, one: Exchange, route: Route, request: ChatRequest | None, answer: Answer | None, *, configured: bool
    ) -> tuple[Usage, int | None]:
        counts = self.counts
        if one.status >= _FAILED:
            return Usage(), 0
        usage = (wire.summary(answer).usage if answer is not None else None) or one.usage
        if usage is None or not usage.total:
            counts.estimated += 1
            text = 0 if answer is None else len(wire.text_of(answer).encode("utf-8", "replace"))
            usage = Usage(input=wire.count_input(request or one.request), output=(text + 3) // 4)
        target = route.targets[0]
        cost = None
        if configured:
            cost = self._rules.prices.price(target.provider, target.model, usage, one.at)
        if cost is None:
            cost = self._pricing.cost(one.provider, target.model, one.model, usage, one.at)
        counts.tokens += usage.total
        if cost is None:
            if one.request.model in counts.unpriced or len(counts.unpriced) < 1_000:
                counts.unpriced[one.request.model[:100]] += 1
        else:
            counts.priced += usage.total
            counts.spent += cost
        return usage, cost

    # -- what is counted -------------------------------------------------------------------------------------------

    def _seen(self, one: Exchange) -> None:
        counts = self.counts
        counts.requests += 1
        counts.first = counts.first or one.at
        counts.last = max(counts.last, one.at)
        counts.no_user += not one.user
        counts.no_time += not one.timed
        counts.failed += one.status >= _FAILED
        counts.no_answer += one.answer is None and one.status < _FAILED
        counts.no_end += one.answer is not None and not one.ended

    def _sum(
        self, one: Exchange, family: str, intent: str, policy: Policy, saved: int | None, cost: int | None
    ) -> None:
        if family not in self.sums and len(self.sums) >= _SUMS:
            family = OTHER
        found = self.sums.get(family)
        if found is None:
            found = self.sums[family] = Sum(model=one.request.model[:100], intent=intent, policy=policy)
            if self._samples and family != OTHER:
                text = families.data_of(one.request)[:_LONGEST_SCANNED]
                found.sample = " ".join(checks.redact(text).split())[:_SAMPLE]
        found.requests += 1
        found.spent += cost or 0
        found.saved += saved or 0

    def _tell(
        self,
        one: Exchange,
        request: ChatRequest,
        answer: Answer | None,
        route: Route,
        printed: bytes,
        family: str,
        intent: str,
        usage: Usage,
        cost: int | None,
    ) -> None:
        """Let families know of it, as of a call: what a cache would have done is not their matter yet."""
        failed = one.status >= _FAILED
        within = scope.scope_of(self._caller, user=one.user, session="", context="", policy=Policy())
        user = scope.user_digest(within, _SECRET) if within is not None else ""
        target = route.targets[0].name
        self._rows.append(
            CallRow(
                request_id=ids.new(one.at),
                at=one.at,
                org=ORG,
                project=PROJECT,
                wire=one.request.wire,
                alias=route.alias,
                target=target,
                attempts=(AttemptRow(target, one.us, "ok" if not failed else "server"),),
                fingerprint=printed[:16].hex(),
                user_digest=user,
                intent=intent,
                usage=usage,
                cost=cost,
                status=one.status,
                upstream_us=one.us,
                family=family,
            )
        )
        if answer is not None and not failed:
            self._waiting += 1
            self._families.answered(
                ORG, PROJECT, family, printed[:16].hex(), request, answer, user=user, alias=route.alias, intent=intent
            )
        if len(self._rows) >= _BATCH:
            self._hand_over()
        if self._waiting >= self._families.settings.queue - 1:
            self.flush()

    def _hand_over(self) -> None:
        if self._rows:
            self._families.observe_batch([], self._rows, {}, {})
            self._rows = []

    def _turn_to(self, at: int) -> None:
        """Set the clock; what came before the end of a window is added up in it."""
        if at // self._window != self._clock.at // self._window:
            self.flush()
        self._clock.at = max(self._clock.at, at)

    def flush(self) -> None:
        """Have families add up all that they were told."""
        self._hand_over()
        self._families.flush()
        self._waiting = 0


_scopes: dict[tuple[str, str], Policy] = {}


def _scoped(policy: Policy, wanted: str) -> Policy:
    """The same policy with another scope."""
    found = _scopes.get((policy.version, wanted))
    if found is None:
        if len(_scopes) > 1_000:
            _scopes.clear()
        found = _scopes[policy.version, wanted] = msgspec.structs.replace(
            policy, scope="user" if wanted == "user" else "project"
        )
    return found
