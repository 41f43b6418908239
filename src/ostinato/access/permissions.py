"""Every permission and role, on one page. A permission is ``resource:verb``; a role is a named set of them.

An endpoint names the permission it needs; a key carries the permissions it has. Nothing else grants anything. What a
key was given is a ceiling: on use it has what its makers still have, and what is bound to its principal (``rights``).
"""

from collections.abc import Iterable

import msgspec

from ostinato.access.model import Actor, Caller, Resource, Rule, SystemActor
from ostinato.core.errors import Denied, Invalid

DESCRIPTIONS: dict[str, str] = {
    "chat:call": "call models through the data plane (/v1)",
    "organizations:read": "see every organization of this installation",
    "organizations:write": "create and change organizations, and act in all of them",
    "projects:read": "see projects",
    "projects:write": "create and change projects, and act in every project of the organization",
    "keys:read": "see keys (never their secrets)",
    "keys:write": "create, change, rotate and revoke keys that can do no more than one's own",
    "targets:read": "see providers, targets and model aliases",
    "targets:write": "change targets and model aliases",
    "prices:read": "see the price book",
    "prices:write": "change the price book",
    "policies:read": "see cache policies and checks",
    "policies:write": "change cache policies and checks",
    "principals:read": "see people, service principals and what they are bound to",
    "principals:write": "create and disable principals, and issue keys in their name",
    "roles:read": "see roles, their permissions and their bindings",
    "roles:write": "bind roles to principals, or deny them something, within one's own rights",
    "breakglass:use": "take every right of the organization for a short time, with a reason that everybody sees",
    "intents:read": "see intents",
    "intents:write": "declare and change intents (high stakes: as a request that others approve)",
    "prompts:read": "see prompts, their versions and labels",
    "prompts:write": "create prompts and versions",
    "prompts:call": "use prompts through the data plane",
    "labels:write": "declare labels and their protection",
    "labels:move": "move a label that needs no release",
    "releases:read": "see releases, their evidence and their history",
    "releases:propose": "propose a release",
    "releases:approve": "approve or reject what somebody else proposed",
    "releases:operate": "start, advance, promote and roll back an approved release",
    "feedback:write": "send feedback and outcomes of requests through the data plane (/v1/feedback)",
    "signals:read": "see feedback, outcomes and scores of requests",
    "datasets:read": "see datasets: versions, counts, leakage; no texts",
    "datasets:text": "see the examples of datasets and the answers of experiments, sealed holdouts excepted",
    "datasets:write": "create datasets and versions of them, and erase examples",
    "scorers:read": "see scorers and what is sampled",
    "scorers:write": "declare scorers and which share of the traffic they score",
    "evals:read": "see experiments, their figures and comparisons",
    "evals:run": "run experiments, which call models",
    "reviews:read": "see review queues, their figures and agreement; no texts",
    "reviews:write": "declare review queues and put items into them",
    "reviews:decide": "take review items, read them and give verdicts",
    "optimizations:read": "see optimization runs and their reports",
    "optimizations:run": "plan, start, pause and cancel optimization runs, which call models",
    "triage:read": "see families of requests, what is to be done with them and why",
    "triage:decide": "approve or reject what triage proposes, and attest prompts in the inventory",
    "kpis:read": "see KPIs, savings, the hold-out and what they rest on",
    "savings:write": "hand in providers' invoices and declare costs that the ledger cannot know",
    "monitoring:read": "see detectors, their state and their budgets of false alarms",
    "monitoring:write": "declare detectors and gold sets",
    "cases:read": "see alerts and cases",
    "cases:write": "declare alerts, open cases, comment on them and move them on",
    "cases:act": "carry out what a case proposes, and approve it",
    "breakers:read": "see which intents are tripped",
    "breakers:operate": "trip an intent, and let it go on",
    "webhooks:read": "see where messages go, and those that could not be delivered; no secrets",
    "webhooks:write": "declare where messages go, and send dead letters again",
    "retention:read": "see retention rules, what a sweep would take, holds and receipts",
    "retention:write": "declare retention rules, and sweep",
    "retention:hold": "place legal holds and lift them",
    "retention:erase": "erase a subject from every store",
    "updates:read": "see what a change of model did to the prompts that use it",
    "updates:run": "compare a new model with the old one on every prompt that uses it, which calls models",
    "audit:read": "read the audit log, its checkpoints and proofs",
    "audit:export": "export the audit log as a bundle, and anchor its checkpoints",
    "audit:witness": "leave another installation's checkpoints here, as its anchor",
    "explain:read": "follow a request to its prompt, release, approvals, entry and proof",
    "cache:read": "see cache entries and their counts",
    "cache:write": "invalidate cache entries",
    "traces:read": "see the ledger's rows without texts",
    "traces:text": "see prompt and answer texts, where the project keeps them",
    "stats:read": "see aggregated statistics, cost and savings",
    "metrics:read": "read /metrics",
}

ALL: frozenset[str] = frozenset(DESCRIPTIONS)

_LOOKING = frozenset(
    {
        "projects:read",
        "targets:read",
        "prices:read",
        "policies:read",
        "intents:read",
        "prompts:read",
        "releases:read",
        "cache:read",
        "traces:read",
        "stats:read",
        "explain:read",
        "signals:read",
        "datasets:read",
        "scorers:read",
        "evals:read",
        "reviews:read",
        "optimizations:read",
        "triage:read",
        "kpis:read",
        "monitoring:read",
        "cases:read",
        "breakers:read",
        "retention:read",
        "updates:read",
    }
)
"""What everybody who works with prompts may see; no texts of requests, no keys, no people."""

ROLES: dict[str, frozenset[str]] = {
    # Everything: the first administrator.
    "owner": ALL,
    # Writes prompts and proposes releases. Cannot approve, start or protect anything.
    "prompt-editor": _LOOKING
    | {
        "chat:call",
        "prompts:call",
        "prompts:write",
        "labels:move",
        "releases:propose",
        "feedback:write",
        "datasets:text",
        "datasets:write",
        "scorers:write",
        "evals:run",
        "reviews:write",
        "optimizations:run",
    },
    # Looks at prompts, releases and real answers, and gives verdicts on them; changes nothing else.
    "reviewer": _LOOKING | {"traces:text", "datasets:text", "reviews:decide"},
    # Says yes or no to what somebody else proposed, and sees what it rests on.
    "approver": _LOOKING | {"releases:approve"},
    # Runs the gateway of one organization. Reads no texts, creates no organizations; does not approve, decide who may
    # do what, or break the glass: whoever runs things does not also let them pass.
    "operator": ALL
    - {
        "organizations:read",
        "organizations:write",
        "traces:text",
        "datasets:text",
        "reviews:decide",
        "releases:approve",
        "principals:write",
        "roles:write",
        "breakglass:use",
        "retention:hold",
        "retention:erase",
    },
    # Looks at figures, never at texts; changes and calls nothing.
    "analyst": frozenset(
        {
            "projects:read",
            "targets:read",
            "prices:read",
            "policies:read",
            "intents:read",
            "cache:read",
            "traces:read",
            "stats:read",
            "metrics:read",
            "signals:read",
            "datasets:read",
            "evals:read",
            "reviews:read",
            "optimizations:read",
            "triage:read",
            "kpis:read",
            "monitoring:read",
            "cases:read",
            "breakers:read",
            "updates:read",
        }
    ),
    # Checks who may do what and who did what; sees no texts and changes nothing.
    "auditor": _LOOKING | {"audit:read", "audit:export", "keys:read", "principals:read", "roles:read", "metrics:read"},
    # An application in production: it calls models, directly or through prompts, tells how
    # it went, and nothing else.
    "service": frozenset({"chat:call", "prompts:call", "feedback:write"}),
}
"""All roles there are. What fits none of them is said as a list of permissions; there is no third way."""

_PROMPT = frozenset({"project", "prompt", "intent"})
_MOVE = frozenset({"project", "prompt", "intent", "label"})

JUDGED: dict[str, frozenset[str]] = {
    "prompts:read": _PROMPT,
    "prompts:write": _PROMPT,
    "prompts:call": _MOVE,
    "labels:write": frozenset({"project", "label"}),
    "labels:move": _MOVE,
    "releases:propose": _MOVE,
    "releases:approve": _MOVE,
    "releases:operate": _MOVE,
    "intents:write": frozenset({"project", "intent"}),
}
"""By what of a :class:`Resource` the rooms judge a permission when they act. Every other permission can be limited to a
project only, and there by where the key belongs: see ``rights``."""

ORGANIZATION_ONLY = frozenset(
    {
        "organizations:read",
        "organizations:write",
        "projects:write",
        "principals:write",
        "breakglass:use",
        "audit:read",
        "audit:export",
        "audit:witness",
    }
)
"""They reach beyond one project by what they are: bound to the whole organization, or not at all."""

SEEN_ALONG = frozenset({"projects:read", "intents:read", "prompts:read", "releases:read"})
"""What a role that is bound to a label, intent or prompt may see all the same: there is no reading half a registry."""


def allows(actor: Actor, permission: str, on: Resource | None = None) -> bool:
    """Whether ``actor`` has ``permission``: ``on`` a resource, or somewhere at all. What this page does not know,
    nobody may; a matching deny always wins."""
    if permission not in ALL:
        return False
    if isinstance(actor, SystemActor):
        return True
    if permission not in actor.permissions:
        return False
    if on is None:
        return True
    if permission == "prompts:call" and actor.allowed_intents is not None and on.intent not in actor.allowed_intents:
        return False
    return not actor.rules or _permitted(actor.rules, permission, on)


def require(actor: Actor, permission: str, on: Resource | None = None) -> None:
    """Raise :class:`Denied` unless ``actor`` has ``permission``; see :func:`allows`."""
    if allows(actor, permission, on):
        return
    who = f"The key {actor.key_prefix}" if isinstance(actor, Caller) else "The system"
    if on is not None and allows(actor, permission):
        raise Denied(
            f"{who} may not do this here: its permission {permission} does not reach {described(on)}.",
            code="permission_denied",
            hint="Use a key whose roles reach it, or ask an administrator to bind one.",
        )
    raise Denied(
        f"{who} may not do this: it lacks the permission {permission}.",
        hint="Use a key that has it, or ask an administrator to add it to this one.",
    )


def _permitted(rules: tuple[Rule, ...], permission: str, on: Resource) -> bool:
    limiting: set[str] = set()
    met: set[str] = set()
    for rule in rules:
        if permission not in rule.permissions:
            continue
        matching = rule.on.matches(on)
        if rule.effect == "deny":
            if matching:
                return False
        else:
            limiting.add(rule.layer)
            if matching:
                met.add(rule.layer)
    return limiting == met


def described(on: Resource) -> str:
    """A resource or pattern in words."""
    named = ", ".join(f"{field} {value[:80]!r}" for field, value in msgspec.structs.asdict(on).items() if value)
    return named or "the whole organization"


def known(names: Iterable[str]) -> frozenset[str]:
    """``names`` as a set. Raises :class:`Invalid` naming what does not exist."""
    wanted = frozenset(names)
    unknown = sorted(wanted - ALL)
    if unknown:
        raise Invalid(
            f"There is no permission {', '.join(repr(name[:80]) for name in unknown[:5])}.",
            code="unknown_permission",
            param="permissions",
            hint=f"The permissions are: {', '.join(sorted(ALL))}.",
        )
    return wanted


def of_role(name: str) -> frozenset[str]:
    """The permissions of a role. Raises :class:`Invalid` naming the roles that exist."""
    try:
        return ROLES[name]
    except KeyError:
        raise Invalid(
            f"There is no role {name[:80]!r}.",
            code="unknown_role",
            param="role",
            hint=f"The roles are: {', '.join(sorted(ROLES))}.",
        ) from None
