"""The plan of a run, made before anything is spent: what it takes, what can be proved, and what stands in the way.

Pure: everything that it looks at is handed to it. An error among its notices keeps the run from beginning.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ostinato.core import hashing
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.datasets.model import SPLITS, DatasetVersion, Example
from ostinato.optimization import estimating, wishes
from ostinato.optimization.asking import calls_each
from ostinato.optimization.run import Estimate, Notice, RunPlan, Wish
from ostinato.optimization.search import racing
from ostinato.optimization.search.anatomy import no_pieces
from ostinato.optimization.search.model import SearchPlan
from ostinato.optimization.settings import Settings
from ostinato.optimization.verdicts import GateRules, JudgeCalibration
from ostinato.prompts import Compiled, contents
from ostinato.routing.model import Target
from ostinato.traces import PriceBook
from ostinato.wire.model import Usage

PROBE = 210
"""Calls of the headroom probe: base and six cheap edits on 30 examples; the first round of the search."""
_ASKED = 12
"""Questions to the reflection model, about."""
_ANSWER = 64
"""Tokens of an answer, about, where the prompt does not limit them."""
_RUBRIC = 300
"""Tokens that a judge is told beside question and answer, about."""
_TOLD = 5
"""Examples that are named in a notice."""
_FEW_CONTRADICTIONS = 0.05
"""Share of contradictory examples that are only warned of."""
_LARGEST_ONE = 100_000
_MOST_PAIRS = 5_000
"""Beyond them power is not computed."""


class Provable(msgspec.Struct, frozen=True):
    """What statistics say of so many sealed examples."""

    smallest_gain: Callable[[int, float], float | None]
    """(Pairs, level) -> the smallest gain that is found with 80 % power, as a share; ``None``: not even 1."""
    pairs_needed: Callable[[float, float], int | None]
    """(Gain, level) -> pairs; ``None``: more than anybody has."""


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan is made of."""

    wish: Wish
    version: DatasetVersion
    examples: Sequence[Example]
    """Of the open splits."""
    base_number: int
    compiled: Compiled
    pieces: contents.Pieces = no_pieces
    """Contents of the partials that the prompt takes."""
    alias: str
    targets: Sequence[Target]
    slices: tuple[str, ...]
    review: bool
    alpha_left: float | None
    findings: Sequence[Notice]
    """What is wrong with the dataset, by its own report."""
    needs_reference: bool
    """Whether a scorer that counts compares with the reference."""
    prices: PriceBook
    settings: Settings
    provable: Provable
    now: int
    others: Sequence[Target] = ()
    """What else is asked: models that judge, reflect or search."""
    judges: Sequence[JudgeCalibration] = ()
    """How far each model among the scorers agrees with people."""
    fits: Callable[[Example], object] | None = None
    """Raises what keeps an example from being asked; left out: the prompt alone is filled in with it."""
    unheard: bool = False
    """Whether its release would be watched for quality, of which nobody has told anything of late."""


def make(ground: Ground) -> RunPlan:
    """The plan."""
    wish, settings = ground.wish, ground.settings
    pairs = ground.version.counts.get("holdout", 0)
    alpha = settings.alpha if wish.alpha is None else wish.alpha
    if not 0 < alpha <= 0.2:
        raise Invalid("A chance of error is above 0 and at most 0.2.", code="invalid_alpha", param="alpha")
    # What the gate asks of one of so many finalists at the least: a plan must not promise what it would refuse.
    level = GateRules(alpha=alpha).level / settings.finalists
    proof = pairs * (1 + settings.finalists)
    each = calls_each(wish)
    looks = review_calls(wish, ground.version.counts.get("dev", 0)) if ground.review else 0
    search = search_calls(wish, settings, pairs, looks)
    stages = _stages(ground, search, pairs, each)
    needed = None
    if wish.gain is not None:
        if not 0 < wish.gain < 1:
            raise Invalid("A gain is a share, such as 0.05 for five points.", code="invalid_gain", param="gain")
        needed = ground.provable.pairs_needed(wish.gain, level)
    notices = [
        *_of_examples(ground),
        *_of_budget(ground, search, proof * each + looks, each, stages),
        *_of_proof(ground, pairs, alpha, needed),
        *_of_release(ground),
        *wishes.slices(wish, ground.slices, ground.version, ground.examples),
        *wishes.judges(ground.judges, GateRules(alpha=alpha)),
        *ground.findings,
    ]
    priced = [one.nano for one in stages]
    return RunPlan(
        prompt=wish.prompt,
        label=wish.label,
        base_number=ground.base_number,
        alias=ground.alias,
        targets=tuple(one.name for one in ground.targets),
        dataset=ground.version.dataset,
        dataset_version=ground.version.number,
        counts={split: ground.version.counts.get(split, 0) for split in SPLITS},
        stages=stages,
        calls=sum(one.calls for one in stages),
        about=sum(one.about for one in stages),
        tokens=sum(one.tokens for one in stages),
        nano=None if None in priced else sum(one or 0 for one in priced),
        unpriced=tuple(one.name for one in ground.targets if _price(ground, one, 1, 1) is None),
        alpha=alpha,
        alpha_left=ground.alpha_left,
        smallest_gain=ground.provable.smallest_gain(min(pairs, _MOST_PAIRS), level) if pairs else None,
        pairs=pairs,
        pairs_needed=needed,
        slices=ground.slices,
        review=ground.review,
        notices=tuple(notices),
    )


def search_calls(wish: Wish, settings: Settings, pairs: int, looks: int = 0) -> int:
    """Measurements that the search may make: as configured, or what the run's own limit leaves of ``calls`` once the
    ``pairs`` sealed examples and the ``looks`` of reviewers (calls) are counted apart."""
    each, proof = calls_each(wish), pairs * (1 + settings.finalists)
    asked = wish.limits.calls
    most = settings.most_calls if asked is None else min(settings.most_calls, asked)
    room = max(0, (most - looks) // each - proof)
    return min(settings.calls, room) if asked is None else room


def review_calls(wish: Wish, dev: int) -> int:
    """Calls at most until reviewers can be asked: the incumbent's and the new prompt's answers on the ``dev`` open
    examples, as far as the search has not asked for them, and how sure the model is of the new ones."""
    return 2 * dev * calls_each(wish) + (dev * wish.samples if wish.samples > 1 else 0)


def refuse(plan: RunPlan) -> None:
    """Raise ``Invalid`` with everything that keeps a run of this plan from beginning."""
    errors = plan.errors
    if errors:
        raise Invalid(
            " ".join(one.message for one in errors),
            code=errors[0].code,
            hint=" ".join(dict.fromkeys(one.hint for one in errors if one.hint)),
        )


# --- what it takes ------------------------------------------------------------------------------------------------


def _stages(ground: Ground, search: int, pairs: int, each: int) -> tuple[Estimate, ...]:
    wish, content = ground.wish, ground.compiled.content
    train = [one for one in ground.examples if one.split == "train" and not one.erased]
    dev = [one for one in ground.examples if one.split == "dev" and not one.erased]
    size = estimating.sizes(content, train, dev, wish.seed, ground.pieces)
    plan = SearchPlan(calls=max(1, search), finalists=ground.settings.finalists)
    about = estimating.counts(plan, content, len(dev), pairs, reflection=bool(wish.reflection), polish=wish.polish)
    rewriting = about.rewriting if wish.reflection else 0
    # What the race leaves to it, or more where the race has nothing left to try.
    polishing = max(racing.reserved(search, reflection=False, polish=True), about.polish) if wish.polish else 0
    probe = min(PROBE, search)
    raced = max(0, search - probe - rewriting - polishing)
    proof = pairs * (1 + ground.settings.finalists)
    finalists = max(1.0, about.holdout / max(1, pairs) - 1)
    best = size.polished if wish.polish else size.shown
    proved = round((size.base + finalists * best) / (1 + finalists))
    rooms = _Rooms(ground, each, size)
    found = [
        rooms.estimate("headroom", probe, about.probe, size.probe),
        rooms.estimate("search", raced, about.race, size.shown),
    ]
    if wish.reflection:
        found.append(rooms.estimate("reflection", rewriting, about.rewriting, size.shown, beside=_ASKED))
    if wish.polish:
        found.append(rooms.estimate("polish", polishing, about.polish, size.polished))
    found.append(rooms.estimate("holdout", proof, about.holdout, proved))
    if ground.review:
        missing = max(0, len(dev) - about.scored)
        beside = len(dev) * wish.samples if wish.samples > 1 else 0
        found.append(rooms.estimate("review", 2 * len(dev), 2 * missing, best, beside=beside))
    return tuple(found)


class _Rooms:
    """What the stages of one plan have in common."""

    def __init__(self, ground: Ground, each: int, size: estimating.Sizes) -> None:
        self._ground = ground
        self._each = each
        self._base = size.base
        self._answer = estimating.answer_tokens(
            ground.compiled.content, ground.examples if ground.needs_reference else (), _ANSWER, _LARGEST_ONE
        )

    def estimate(self, stage: str, most: int, about: int, said: int, *, beside: int = 0) -> Estimate:
        """One stage: at ``most`` so many measurements, ``about`` so many, with prompts of ``said`` tokens.

        ``beside``: further calls like those for an answer, which nobody judges.
        """
        ground, each = self._ground, self._each
        judged = (each - 1) * about
        asked, told = about + beside, self._base + self._answer + _RUBRIC
        tokens = asked * (said + self._answer) + judged * (told + _ANSWER)
        costs: list[int | None] = []
        for target in ground.targets:
            one, two = _price(ground, target, said, self._answer), _price(ground, target, told, _ANSWER)
            costs.append(None if one is None or two is None else asked * one + judged * two)
        known = [one for one in costs if one is not None]
        nano = max(known) if known and len(known) == len(costs) else None
        return Estimate(
            stage=stage,
            calls=most * each + beside,
            about=about * each + beside,
            tokens=tokens,
            nano=nano,
        )


def _price(ground: Ground, target: Target, said: int, answer: int) -> int | None:
    return ground.prices.price(target.provider, target.model, Usage(input=said, output=answer), ground.now)


# --- what stands in the way ---------------------------------------------------------------------------------------


def _of_examples(ground: Ground) -> list[Notice]:
    version, least = ground.version, ground.settings.min_examples
    found: list[Notice] = []
    total = sum(version.counts.values())
    if not total:
        return [_error("empty_dataset", f"The dataset {version.dataset!r} has no examples.", "Add some first.")]
    for split in SPLITS:
        count = version.counts.get(split, 0)
        if count < least:
            found.append(
                _error(
                    "too_few_examples",
                    f"The part {split!r} of {version.dataset!r} has {count} examples; a run needs at least {least}.",
                    "Add examples, or change the shares of the dataset's parts.",
                )
            )
    answers = Counter(hashing.canonical_json(one.reference) for one in ground.examples if one.reference is not None)
    with_reference = sum(answers.values())
    if ground.needs_reference and with_reference < len(ground.examples):
        found.append(_references_missing(ground, len(ground.examples) - with_reference))
    if len(ground.examples) > 1 and len(answers) == 1 and with_reference == len(ground.examples):
        found.append(
            _error(
                "one_class",
                f"Every example of {version.dataset!r} has the same reference: whoever always says it is right.",
                "Add examples with other answers.",
            )
        )
    found += _contradictions(ground)
    found += _unrenderable(ground)
    return found


def _references_missing(ground: Ground, missing: int) -> Notice:
    every = missing == len(ground.examples)
    message = (
        f"{'No' if every else missing} of {len(ground.examples)} examples {'has' if every else 'have no'} reference"
    )
    if every:
        message = "No example has a reference"
    hint = "Add references, or use scorers that need none, such as a judge."
    return Notice(
        level="error" if every else "warning",
        code="no_reference",
        message=f"{message}, and a scorer compares with it: such answers stay unscored.",
        hint=hint,
    )


def _of_release(ground: Ground) -> list[Notice]:
    """What its canary would wait for in vain."""
    if not ground.unheard:
        return []
    return [
        Notice(
            level="warning",
            code="no_quality_signals",
            message="Nobody has told in the last 28 days how good this prompt's answers are: what the run finds would "
            "be watched for quality as a canary, see nothing, and go back.",
            hint="Let answers be scored or rated (declare a scorer with sampling, or send feedback), or wish a rollout "
            "without quality among what is watched.",
        )
    ]


def _contradictions(ground: Ground) -> list[Notice]:
    """Examples that ask the same and want another answer: no prompt can get all of them right."""
    seen: dict[bytes, dict[bytes, list[str]]] = {}
    for one in ground.examples:
        answers = seen.setdefault(hashing.canonical_json(one.inputs), {})
        answers.setdefault(hashing.canonical_json(one.reference), []).append(one.id)
    caught = [name for answers in seen.values() if len(answers) > 1 for names in answers.values() for name in names]
    if not caught or not ground.needs_reference:
        return []
    share = len(caught) / len(ground.examples)
    return [
        Notice(
            level="error" if share > _FEW_CONTRADICTIONS else "warning",
            code="contradictory_examples",
            message=f"{len(caught)} examples ({100 * share:.1f} %) ask the same and want different answers.",
            hint=f"Settle them first: {', '.join(caught[:_TOLD])}{' ...' if len(caught) > _TOLD else ''}.",
        )
    ]


def _unrenderable(ground: Ground) -> list[Notice]:
    """Examples that the prompt cannot be filled in with."""
    faults: Counter[str] = Counter()

    def filled(example: Example) -> object:
        return ground.compiled.render(example.inputs)

    fits = ground.fits or filled
    for one in ground.examples:
        try:
            fits(one)
        except OstinatoError as error:
            faults[error.message.rstrip(".")] += 1
    if not faults:
        return []
    told = "; ".join(
        f"{message} ({count} of {len(ground.examples)} examples)" for message, count in faults.most_common(3)
    )
    return [
        _error(
            "variables_do_not_fit",
            f"The prompt cannot be filled in with the examples: {told}.",
            "Name the columns of the dataset as the prompt names its variables.",
        )
    ]


def _of_budget(ground: Ground, search: int, apart: int, each: int, stages: Sequence[Estimate]) -> list[Notice]:
    """``apart``: calls that come on top of the search's."""
    limits, found = ground.wish.limits, list[Notice]()
    for name, value in msgspec.structs.asdict(limits).items():
        if value == 0:
            found.append(_error("budget_zero", f"A budget of 0 {_UNITS[name]} lets nothing be tried.", "Give it more."))
        elif isinstance(value, int) and value < 0:
            found.append(_error("invalid_budget", "A limit is 0 or more.", "Leave it out to have none."))
    least = min(PROBE, ground.settings.calls) * each + apart
    if limits.calls and limits.calls > 0 and search < min(PROBE, ground.settings.calls):
        found.append(
            _error(
                "budget_too_small",
                f"{limits.calls} calls are too few: the probe takes {PROBE * each}, and the {apart} calls on "
                f"sealed examples{' and for reviewers' if ground.review else ''} come on top.",
                f"Allow at least {least} calls, or use fewer sealed examples.",
            )
        )
    unpriced = any(_price(ground, target, 1, 1) is None for target in ground.others)
    if limits.nano and (unpriced or any(one.nano is None for one in stages)):
        found.append(
            _error(
                "price_unknown",
                "The budget limits money, and a model's price is not known.",
                "Declare its price under [prices], or limit calls and tokens instead.",
            )
        )
    tokens, nano = sum(one.tokens for one in stages), sum(one.nano or 0 for one in stages)
    more = "It pauses when they are used up, and goes on with more."
    if limits.tokens and 0 < limits.tokens < tokens:
        message = f"The run takes about {tokens:,} tokens, and {limits.tokens:,} are allowed."
        found.append(Notice(level="warning", code="tokens_may_not_suffice", message=message, hint=more))
    if limits.nano and 0 < limits.nano < nano:
        message = f"The run takes about ${nano / 1e9:,.6f}, and ${limits.nano / 1e9:,.9f} are allowed."
        found.append(Notice(level="warning", code="money_may_not_suffice", message=message, hint=more))
    return found


_UNITS: Mapping[str, str] = {"calls": "calls", "tokens": "tokens", "nano": "dollars"}


def _of_proof(ground: Ground, pairs: int, alpha: float, needed: int | None) -> list[Notice]:
    found: list[Notice] = []
    if not any(spec.weight for spec in ground.wish.scorers):
        found.append(
            _error(
                "no_scorers", "No scorer says how good an answer is.", "Name at least one, such as `label` or `exact`."
            )
        )
    if ground.wish.gain is not None and (needed is None or pairs < needed):
        takes = f"more than {_MOST_PAIRS:,}" if needed is None else f"about {needed:,}"
        found.append(
            _error(
                "holdout_too_small",
                f"{pairs} sealed examples cannot prove a gain of {_points(ground.wish.gain or 0)} at "
                f"{100 * alpha:g} %: that takes {takes}.",
                "Add examples, ask for a larger gain, or allow a larger chance of error.",
            )
        )
    if ground.alpha_left is not None and ground.alpha_left < alpha:
        found.append(
            _error(
                "holdout_spent",
                f"Earlier runs have looked at these sealed examples: {ground.alpha_left:g} of the chance of error is "
                f"left, and this run asks for {alpha:g}.",
                "Make a version of the dataset with new sealed examples.",
            )
        )
    return found


def _points(share: float) -> str:
    return f"{100 * share:g} points"


def _error(code: str, message: str, hint: str = "") -> Notice:
    return Notice(level="error", code=code, message=message, hint=hint)
