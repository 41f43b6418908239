"""What stakes bring along, on one page.

========================  ===========  ===========  ===========  ===========
what                      low          medium       high         critical
========================  ===========  ===========  ===========  ===========
cache mode                policy       policy       exact, off   exact, off
stale answers             policy       policy       never        never
scope                     policy       policy       each user    each user
refusals kept             policy       policy       never        never
fallback answers kept     policy       policy       never        never
finish after hang-up      policy       policy       no           no
approvals of a release    1            1            2            2
approvals of a change     0            0            1            2
a person looks at it      no           no           yes          yes
canary advances itself    yes          yes          no           no
baseline hold-out         yes          yes          no           no
an owner is named         -            -            required     required
========================  ===========  ===========  ===========  ===========

``policy``: as the cache policy of project and alias says, unless the intent declares otherwise. At low and medium
stakes everything here but the approvals of a change may be declared otherwise. At high and critical stakes it is a
bound: what is declared may be stricter, and what is looser is refused. A *change* is one of the intent itself, its
removal included, where it has such stakes before or after; from the configuration file it needs nobody, because who
writes that file owns the machine.
"""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from ostinato.intents.model import CacheRules, Stakes

LEVELS: tuple[Stakes, ...] = ("low", "medium", "high", "critical")


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """One column of the page."""

    binding: bool
    """Whether it bounds what may be declared, or only stands where nothing is declared."""
    cache: CacheRules = CacheRules()
    approvals: int
    change_approvals: int
    human_review: bool
    auto_rollout: bool
    baseline_holdout: bool


_FREE = Defaults(
    binding=False,
    approvals=1,
    change_approvals=0,
    human_review=False,
    auto_rollout=True,
    baseline_holdout=True,
)
_BOUND = Defaults(
    binding=True,
    cache=CacheRules(
        stale_while_revalidate=0.0,
        stale_if_error=0.0,
        store_refusals=False,
        store_fallback=False,
        scope="user",
        finish_and_store=False,
    ),
    approvals=2,
    change_approvals=1,
    human_review=True,
    auto_rollout=False,
    baseline_holdout=False,
)

DEFAULTS: Mapping[Stakes, Defaults] = MappingProxyType(
    {
        "low": _FREE,
        "medium": _FREE,
        "high": _BOUND,
        "critical": msgspec.structs.replace(_BOUND, change_approvals=2),
    }
)

NO_INTENT = DEFAULTS["medium"]
"""What holds for prompts and requests of no intent."""


def change_approvals(*stakes: Stakes) -> int:
    """How many must approve a change between these stakes: those before and those after, as far as there are any."""
    return max((DEFAULTS[one].change_approvals for one in stakes), default=0)
