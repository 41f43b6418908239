"""What is known of a job. Frozen."""

from typing import Literal, TypeAlias

import msgspec

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled"]


class JobState(msgspec.Struct, frozen=True, kw_only=True):
    """A job, now."""

    id: str
    name: str
    subject: str
    """Id of what it is about."""
    state: State
    phase: str = ""
    """The phase that runs, or would run next; empty once all have ended."""
    error: str = ""
    """Why it failed, in a sentence."""
    code: str = ""
    """The same for programs."""
    attempts: int = 0
    """How often it was taken up: once, and once more after each crash in it."""
