"""Rules made ready, and applied to requests and answers."""

from collections.abc import Iterable, Sequence

from ostinato.checks import answers, requests
from ostinato.checks.model import (
    LONGEST_TERM,
    EmbeddingVerdict,
    Finding,
    InputVerdict,
    OutputVerdict,
    Rule,
)
from ostinato.checks.scan import Looking, Scan
from ostinato.checks.settings import Settings
from ostinato.checks.stream import StreamFilter
from ostinato.checks.terms import Terms
from ostinato.checks.texts import PERSONAL, SECRETS, Search, redacted
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.wire.model import Answer, ChatRequest, EmbeddingRequest


class Checker:
    """Some rules, ready to use. Stateless; safe to share. Made by :func:`compile`."""

    def __init__(self, rules: Sequence[Rule], settings: Settings) -> None:
        self.rules = tuple(rules)
        self._settings = settings
        self._input = _looking([rule for rule in rules if rule.applies != "output"])
        self._output = _looking([rule for rule in rules if rule.applies != "input"])

    def input(self, request: ChatRequest) -> InputVerdict:
        """Look at what is asked. The verdict's request is redacted where a rule says so, its ``original`` too."""
        if not self._input:
            return InputVerdict("allow", request)
        scan = Scan(self._input, self._settings.max_chars)
        checked = requests.apply(request, scan.text)
        return InputVerdict(scan.action, checked, scan.findings)

    def embedding(self, request: EmbeddingRequest) -> EmbeddingVerdict:
        """The same for a request for embeddings."""
        if not self._input:
            return EmbeddingVerdict("allow", request)
        scan = Scan(self._input, self._settings.max_chars)
        checked = requests.apply_embedding(request, scan.text)
        return EmbeddingVerdict(scan.action, checked, scan.findings)

    def output(self, answer: Answer) -> OutputVerdict:
        """Look at a whole answer: before it is sent, and before it is stored."""
        if not self._output:
            return OutputVerdict("allow", answer)
        scan = Scan(self._output, self._settings.max_chars)
        checked = answers.apply(answer, scan.text)
        return OutputVerdict(scan.action, checked, scan.findings)

    def stream_filter(self) -> StreamFilter | None:
        """A filter for one streamed answer; ``None`` where no rule would change or stop it on its way.

        It holds back some of the text. Check the recorded answer with :meth:`output` before it is stored all the same:
        there the rules see it whole.
        """
        if not any(rule.action in ("redact", "block") for one in self._output for rule in one.rules):
            return None
        longest = max((one.search.reach for one in self._output), default=0)
        return StreamFilter(
            self._output,
            hold_chars=max(self._settings.hold_chars, longest),
            max_chars=self._settings.max_chars,
        )


def compile(rules: Iterable[Rule], settings: Settings | None = None) -> Checker | None:
    """Make rules ready. ``None`` where there are none: then nothing is looked at and nothing is paid.

    Raises ``Invalid`` for a rule that cannot be used, naming it.
    """
    known = tuple(rules)
    names: set[str] = set()
    for rule in known:
        if rule.name in names:
            raise _wrong(rule, "is declared twice", "name")
        names.add(rule.name)
        if (rule.kind == "banned") != bool(rule.terms):
            raise _wrong(rule, "needs terms" if rule.kind == "banned" else "takes no terms", "terms")
        if any(not term.strip() or len(term) > LONGEST_TERM for term in rule.terms):
            raise _wrong(rule, f"has a term that is empty or longer than {LONGEST_TERM} characters", "terms")
    return Checker(known, settings or Settings()) if known else None


def refusal(findings: Iterable[Finding], what: str = "request") -> OstinatoError:
    """The error for a caller whose ``request`` (or ``answer``) a rule blocks. Tells the rules, never the text."""
    blocking = [finding for finding in findings if finding.action == "block"]
    told = ", ".join(sorted({f"{finding.rule} ({finding.label})" for finding in blocking}))
    too_long = any(finding.label == "UNSCANNED" for finding in blocking)
    return Invalid(
        f"The {what} is blocked by the rules of this project: {told}.",
        code="content_blocked",
        hint="It holds more text than the rules read; shorten it, or raise [checks] max_chars."
        if too_long
        else "Remove what the rule names, or ask whoever keeps the project's rules.",
    )


def redact(text: str) -> str:
    """``text`` without secrets and personal data, whatever the rules: for what is written down."""
    return redacted(text, (SECRETS, PERSONAL))


def _wrong(rule: Rule, what: str, field: str) -> Invalid:
    return Invalid(
        f"The check rule {rule.name!r} {what}.", code="invalid_rule", param=f"checks.rules.{rule.name}.{field}"
    )


def _looking(rules: Sequence[Rule]) -> tuple[Looking, ...]:
    """One search per kind, so that two rules of a kind read the text once; banned terms have one per rule."""
    found: list[Looking] = []
    for kind, search in (("secrets", SECRETS), ("pii", PERSONAL)):
        some = tuple(rule for rule in rules if rule.kind == kind)
        if some:
            found.append(Looking(search, some))
    for rule in rules:
        if rule.kind == "banned":
            try:
                terms = Terms(rule.terms)
            except RecursionError as error:
                raise _wrong(rule, "has too many terms that begin alike", "terms") from error
            found.append(Looking(Search(terms.find, normalized=False, reach=4 * terms.longest), (rule,)))
    return tuple(found)
