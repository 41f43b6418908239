"""What can be set of the checks: section ``[checks]``."""

import msgspec

from ostinato.checks.model import Rule


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules by declaration, and how much is read. A cache policy names the rules that it wants."""

    rules: tuple[Rule, ...] = ()
    max_chars: int = 262_144
    """Characters read per request or answer. What is longer is *not* passed unread: for a rule that blocks or redacts
    it is blocked, for one that keeps out of the cache it is kept out."""
    hold_chars: int = 256
    """Characters of a streamed answer that are held back, so that what straddles two chunks is seen whole."""
