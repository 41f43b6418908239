"""What traffic that was recorded elsewhere cannot tell, in words, with how many requests it concerns."""

from collections.abc import Sequence

from ostinato.assessing.model import Family, Rules, Told
from ostinato.assessing.replay import Counts

_DAY = 86_400_000_000


def unknown(counts: Counts, found: Sequence[Family], rules: Rules) -> tuple[Told, ...]:
    """Everything that was held instead of known, what matters most first."""
    whole = counts.requests
    compared = sum(one.figures.stability.n for one in found if one.figures.stability is not None)
    candidates = [
        Told(
            "times",
            "When they were asked was not recorded, or cannot be: each stands right behind what was read before it. "
            "Hit rates are upper bounds then, and amounts a month are guesses (a file counts for a day at least).",
            counts.no_time,
        ),
        Told(
            "span",
            "They span less than a day: amounts a month take them for a whole day's traffic, and are too low where "
            "the rest of the day was as busy.",
            whole if 0 < counts.last - counts.first < _DAY and not counts.no_time else 0,
        ),
        Told(
            "answers",
            "Their answers were not recorded: each is held to be one that may be kept, and costs what its input costs.",
            counts.no_answer,
        ),
        Told(
            "endings",
            "Why their answers ended was not recorded: they are held to be complete, truncated ones too.",
            counts.no_end,
        ),
        Told(
            "tokens",
            "Their tokens were not recorded: a token is counted for every four bytes.",
            counts.estimated,
        ),
        Told(
            "users",
            "No end user is named in them: with users of their own, fewer answers would be shared. See the lines "
            "'user' and 'project', and set the scope before you share answers between people.",
            counts.no_user,
        ),
        Told(
            "models",
            "Their models are not declared in the configuration: each is held to stand for itself.",
            counts.no_alias if rules.catalog is not None else 0,
        ),
        Told(
            "failures", "They failed: what a retry or a fallback would have made of them is not known.", counts.failed
        ),
        Told(
            "stability",
            "Whether answers to equal requests agree was seen in "
            f"{compared:,.0f} comparisons of what was recorded; the gateway's audits ask again.",
            whole if compared < whole / 20 else 0,
        ),
        Told(
            "quality",
            "How good the answers are is not in these files: what optimizing prompts is worth cannot be told before "
            "outcomes, scores or reviews come in.",
            whole,
        ),
        Told(
            "headers",
            "Cache directives, contexts and tags that clients would send, answers that others would have waited for, "
            "and the share that the hold-out leaves without cache are not in the rates.",
            whole,
        ),
        Told(
            "near",
            "Requests that are much like others may want other answers: their share is an upper bound for a "
            "semantic tier.",
            whole,
        ),
    ]
    return tuple(one for one in candidates if one.n)
