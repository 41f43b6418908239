"""What waits for approval, who decided, and what it comes to. Frozen."""

import msgspec

APPROVE, REJECT = "approve", "reject"

OPEN, REJECTED, VOID, DONE = "open", "rejected", "void", "done"
"""States as stored; that an open request has expired is seen by its time."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """One principal's word. Kept for ever; of several by one principal the last one counts."""

    number: int
    """1, 2, 3 ... within its request."""
    principal: str
    """Who stands behind the key: what is compared with the author."""
    actor: str
    """``key:ID``, as the audit log names it."""
    decision: str
    """``approve`` or ``reject``."""
    digest: str
    """Of what was decided upon, in hexadecimal."""
    comment: str = ""
    decided_at: int
    """UTC microseconds."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A change that waits for others to agree."""

    id: str
    org: str = ""
    project: str = ""
    """Id; empty: the organization's."""
    kind: str
    """What sort of change: ``release``, ``intent``."""
    target: str
    """The resource as the audit log names it, such as ``release:ID``."""
    digest: str
    """SHA-256 of the change, in hexadecimal; approvals are bound to it."""
    body: object = None
    """The change as JSON, for those who must judge it."""
    needed: int
    """How many principals must approve."""
    author: str
    """The principal that asks; never one that approves."""
    opened_by: str
    opened_at: int
    expires_at: int
    """UTC microseconds; approvals end with their request."""
    state: str = OPEN
    """``open``, ``rejected``, ``void`` or ``done``."""
    closed_at: int | None = None
    closed_why: str = ""
    decisions: tuple[Decision, ...] = ()

    def standing(self, now: int) -> str:
        """``state``, or ``expired`` for an open request whose time is over."""
        return "expired" if self.state == OPEN and self.expires_at <= now else self.state


class Discounted(msgspec.Struct, frozen=True):
    """An approval that does not count, and why."""

    principal: str
    why: str


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What the decisions come to at one moment."""

    standing: str
    """Of the request: ``open`` is the only one under which anything is reached."""
    needed: int
    approved_by: tuple[str, ...] = ()
    """Principals whose approval counts."""
    discounted: tuple[Discounted, ...] = ()

    @property
    def reached(self) -> bool:
        """Whether the change may be carried out as far as approvals go."""
        return self.standing == OPEN and len(self.approved_by) >= self.needed

    @property
    def sentence(self) -> str:
        """The tally in words."""
        told = f"{len(self.approved_by)} of {self.needed} approvals"
        if self.standing != OPEN:
            told += f"; the request is {self.standing}"
        for one in self.discounted:
            told += f"; the one of {one.principal} does not count: {one.why}"
        return told
