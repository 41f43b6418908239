"""Ready scorers of the package ``autoevals`` (an extra). Its judges ask through our own calls: journalled, budgeted,
traced, and cached like every other; its client for other people's servers is never made."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec

from ostinato import wire
from ostinato.calls.model import Asked
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.scorers.functions import in_thread
from ostinato.scorers.kinds import Asking, Context, Kind, Said, missing, wrong
from ostinato.scorers.model import Subject
from ostinato.scorers.texts import numbers
from ostinato.wire.model import Identity

JUDGES = (
    *("Factuality", "ClosedQA", "Humor", "Possible", "Security", "Sql", "Summary", "Translation"),
    *("ContextRelevancy", "ContextRecall", "ContextPrecision", "Faithfulness"),
)
"""Those that ask a model."""
PLAIN = ("ExactMatch", "Levenshtein", "NumericDiff", "JSONDiff", "ValidJSON")
_TIMEOUT = 60.0
_GIVEN = frozenset({"output", "expected", "input", "context"})
"""What comes from the answer and its example alone. As a schema to be followed, ``expected`` could name any address."""
_LONGEST = 65_536
"""Characters of a text that is compared letter by letter: longer ones would keep the whole process waiting."""
_THREADS = 4


class Autoevals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    scorer: str
    """Its class: ``Factuality``, ``Levenshtein`` ..."""
    model: str = ""
    """Alias of the model that judges; for those that ask one."""
    options: dict[str, Any] = {}
    """More that it takes for one evaluation, such as ``criteria`` of ``ClosedQA``."""


def _make(config: Autoevals, context: Context) -> Asking:
    if config.scorer not in JUDGES and config.scorer not in PLAIN:
        raise wrong(
            "scorer",
            f"autoevals has no scorer {config.scorer[:80]!r} that could be used here.",
            f"There are: {', '.join((*JUDGES, *PLAIN))}.",
        )
    given = sorted(_GIVEN & set(config.options))
    if given:
        raise wrong("options", f"{given[0]!r} is no option: it comes from what is scored.")
    judges = config.scorer in JUDGES
    if judges != bool(config.model):
        raise wrong("model", f"{config.scorer} {'needs' if judges else 'asks no'} model.")
    try:
        import autoevals  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise Invalid(
            "The package autoevals is not installed.",
            code="extra_missing",
            hint="Install the extra: pip install 'ostinato[autoevals]'.",
        ) from error
    made: Callable[..., Any] = getattr(autoevals, config.scorer)
    if not judges:
        return _plain(made(), config)
    if context.calls is None:
        raise missing("a model", "autoevals", "Judges run in experiments, optimization runs and on sampled traffic.")
    client, under_way = _client(config, context)
    scorer: Any = made(model=config.model, client=client)

    async def say(subject: Subject) -> Said:
        evaluation = _Evaluation(subject.request_id)
        token = under_way.set(evaluation)
        try:
            given: Any = await scorer.eval_async(**_arguments(subject, config))
        except OstinatoError:
            raise
        except Exception as error:
            # Its judges are parsed by it: what is no verdict raises, in many ways.
            return Said(
                None,
                "nonsense",
                f"The judge's answer could not be used ({type(error).__name__}).",
                cost=evaluation.cost,
            )
        finally:
            under_way.reset(token)
        return _said(given, evaluation.cost)

    return say


def _plain(scorer: Any, config: Autoevals) -> Asking:
    places = asyncio.Semaphore(_THREADS)

    async def say(subject: Subject) -> Said:
        arguments = _arguments(subject, config)
        if any(len(str(arguments.get(name) or "")) > _LONGEST for name in ("output", "expected")):
            return Said(None, rationale=f"The answer or its reference is longer than {_LONGEST} characters.")
        await places.acquire()
        return _said(await in_thread(lambda: scorer.eval(**arguments), places.release), 0)

    return say


def _arguments(subject: Subject, config: Autoevals) -> dict[str, Any]:
    context = "\n\n".join(passage.text for passage in subject.retrieved or subject.passages if passage.text)
    given: dict[str, Any] = {"output": subject.output, "expected": subject.reference, "input": subject.input_text}
    if context:
        given["context"] = context
    if config.scorer == "ValidJSON":
        given["expected"] = None  # it would take it for a schema
    if config.scorer == "NumericDiff":
        for name in ("output", "expected"):
            given[name] = next(iter(numbers(str(given[name]))), None)
    return {**given, **config.options}


def _said(given: Any, cost: int) -> Said:
    metadata = cast("dict[str, object]", given.metadata or {})
    rationale = metadata.get("rationale") or metadata.get("reason") or ""
    return Said(given.score, str(metadata.get("choice", "")), str(rationale), None, cost)


class _Evaluation:
    """One evaluation under way: what is scored, and what it has cost so far."""

    __slots__ = ("cost", "example")

    def __init__(self, example: str) -> None:
        self.example = example
        self.cost = 0


class _Never(Exception):
    """What autoevals waits and repeats for: nobody raises it, our own calls do their own waiting."""


def _client(config: Autoevals, context: Context) -> tuple[object, contextvars.ContextVar[_Evaluation]]:
    """autoevals' client, asking through our calls, and where it learns what it asks about, and adds up the cost."""
    from autoevals.oai import LLMClient  # noqa: PLC0415 - an extra

    asker = context.calls
    assert asker is not None
    codec = wire.codec("openai.chat")
    under_way: contextvars.ContextVar[_Evaluation] = contextvars.ContextVar("autoevals_evaluation")

    async def complete(**body: Any) -> dict[str, Any]:
        body.pop("span_info", None)
        body.pop("use_responses_api", None)
        evaluation = under_way.get()
        request = codec.read_request({**body, "model": config.model})
        asked = Asked(
            org=context.org,
            project=context.project,
            alias=config.model,
            request=wire.changed(request),
            purpose=context.purpose,
            namespace=context.namespace,
            # What is erased with the example: autoevals puts its texts into what it asks.
            example=evaluation.example,
            fallbacks=context.fallbacks,
        )
        called = await asker.ask(asked, context.budget, timeout=_TIMEOUT)
        if called.paid:
            evaluation.cost += called.cost or 0
        told = codec.write_answer(called.answer, Identity(called.key[:32], 0, config.model))
        return msgspec.json.decode(told, type=dict[str, Any])

    class Client(LLMClient):
        """Without its own set-up, which asks for the SDK of OpenAI and takes its client."""

        def __post_init__(self) -> None:
            self.complete = cast("Callable[..., Awaitable[dict[str, Any]]]", complete)
            self.RateLimitError = _Never
            self.is_async = True

    return Client(openai=cast("Any", None)), under_way


def _identity(_: Autoevals, __: Context) -> object:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - only where it is asked for

    try:
        return version("autoevals")
    except PackageNotFoundError:
        return ""


KINDS = (
    Kind(
        name="autoevals",
        title="A ready scorer of the package autoevals, judged through our own calls.",
        config=Autoevals,
        make=_make,
        asking=True,
        patient=True,
        identity=_identity,
    ),
)
