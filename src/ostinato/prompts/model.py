"""What a prompt is: its content, its versions, the labels that point at them, and every move of those."""

from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from ostinato.core.errors import Invalid
from ostinato.templates import Finding, Format
from ostinato.wire.model import Json

Kind: TypeAlias = Literal["text", "chat", "partial"]
Role: TypeAlias = Literal["system", "developer", "user", "assistant"]
Source: TypeAlias = Literal["person", "optimizer", "import"]
Arm: TypeAlias = Literal["", "stable", "canary", "control", "baseline"]

PRODUCTION = "production"
"""The label that a reference without one means; declared by itself, and protected unless declared otherwise."""
MOST_VERSIONS = 10_000
"""Of one prompt."""
MOST_MESSAGES = 200
MOST_TOOLS = 128
MOST_PARTIALS = 100
"""Different versions of partials that one version takes, those of partials included."""
LARGEST_SCHEMA = 65_536
"""Bytes of JSON, of the variables' or the answer's schema."""
LARGEST_CONTENT = 524_288
"""Bytes of JSON of a version."""
LONGEST_NAME = 200
LONGEST_MESSAGE = 4_000
MOST_TAGS = 32


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message of a chat prompt."""

    role: Role
    template: str


class Draft(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version as its author writes it."""

    format: Format = "plain"
    text: str | None = None
    """The template of a text prompt or a partial."""
    messages: tuple[Turn, ...] | None = None
    """The templates of a chat prompt."""
    variables: Json | None = None
    """JSON Schema of an object; ``None``: as the templates take them, as required strings."""
    response_schema: Json | None = None
    """JSON Schema of the answer."""
    tools: tuple[Json, ...] = ()
    """In OpenAI's shape."""
    params: Json = {}
    """``model`` (the alias to call), ``temperature``, ``max_tokens`` ...: see ``content.PARAMS``."""
    partials: dict[str, int] = {}
    """Version number of the partials that it takes; one that is not named here: its newest version."""


class Content(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a version says: equal contents are one version. Its digest is the SHA-256 of its canonical JSON."""

    kind: Kind
    format: Format = "plain"
    text: str = ""
    messages: tuple[Turn, ...] = ()
    variables: Json = {}
    """JSON Schema; the names that it does not know are refused, unless it says ``additionalProperties``."""
    response_schema: Json | None = None
    tools: tuple[Json, ...] = ()
    params: Json = {}
    partials: dict[str, int] = {}
    """Name -> version number, as pinned when this was saved."""


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt, without its versions."""

    id: str
    org_id: str
    project_id: str
    name: str
    kind: Kind
    description: str = ""
    tags: tuple[str, ...] = ()
    intent: str = ""
    """Key of the intent that it serves; empty: none."""
    latest: int = 0
    """The newest version's number; 0: there is none yet."""
    labels: dict[str, int] = {}
    """Label -> version number (of the stable arm)."""
    archived_at: int | None = None
    """UTC microseconds."""
    created_at: int
    created_by: str
    version: int
    """Counts changes of these fields; sent back with an update to notice that somebody else was quicker."""


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version. Never changes."""

    prompt: str
    """The prompt's name."""
    number: int
    digest: str
    """SHA-256 of the canonical content, hexadecimal."""
    content: Content | None = None
    """Left out of lists."""
    message: str = ""
    source: Source = "person"
    author: str = ""
    """The principal who wrote it."""
    created_by: str
    """The actor: ``key:ID`` or ``system:NAME``."""
    created_at: int
    parent: int = 0
    """The newest version when this was written; 0: it is the first."""
    findings: tuple[Finding, ...] = ()
    """What the linter said."""


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What came of adding a version."""

    version: Version
    created: bool
    """Whether it is new; else a version of the same content was there already."""
    findings: tuple[Finding, ...] = ()


class Protection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a move of a label takes."""

    release_required: bool = False
    """Whether only a release may move it."""
    approvals: int = 0
    """At least so many; an intent may ask for more."""
    gates: tuple[str, ...] = ()
    """Names of the gates that a release must pass; missing evidence fails."""

    @property
    def by_release(self) -> bool:
        """Whether only a release may move it."""
        return self.release_required or self.approvals > 0 or bool(self.gates)


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """A movable pointer, declared for all prompts of a project."""

    project_id: str
    name: str
    description: str = ""
    protection: Protection = Protection()
    immutable: bool = False
    """Set once and never moved again, as ``v1.2.3`` is."""
    builtin: bool = False
    """Whether it is there without having been declared."""
    created_at: int = 0
    created_by: str = "system:ostinato"
    version: int = 0
    """Counts changes; 0: never declared."""


class Canary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A share of the traffic for another version. Who is in it is drawn from who asks, ``release`` and ``salt``: it
    stays the same while the share grows."""

    number: int
    release: str
    share: float
    """0 to 1."""
    control: float = 0.0
    """The share of the stable version that is set apart to compare with; 0 to 1 - ``share``."""
    salt: str = ""


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """Where a label of a prompt points now."""

    prompt_id: str
    prompt: str
    label: str
    number: int
    digest: str = ""
    release: str = ""
    """Id of the release that moved it here; empty where none did."""
    canary: Canary | None = None
    assigned_at: int
    assigned_by: str
    version: int
    """Counts the moves, also those of the canary."""


class LabelMove(msgspec.Struct, frozen=True, kw_only=True):
    """One move of a label, never altered."""

    seq: int
    prompt: str
    label: str
    from_number: int
    """0: it pointed nowhere."""
    number: int
    """0: it was taken away."""
    release: str = ""
    canary: Canary | None = None
    actor: str
    principal: str
    reason: str
    evidence: Any = None
    """Whatever was given: references, figures. A JSON value."""
    at: int


class InvalidVariable(Invalid):
    """A value does not fit the schema of its variable; ``param`` names it. The value itself is never repeated."""

    status: ClassVar[int] = 422
    default_code: ClassVar[str] = "invalid_variable"


class MissingVariable(InvalidVariable):
    """A variable that the prompt needs was not given."""

    default_code: ClassVar[str] = "missing_variable"


class UnknownVariable(InvalidVariable):
    """A variable was given that the prompt does not have."""

    default_code: ClassVar[str] = "unknown_variable"
