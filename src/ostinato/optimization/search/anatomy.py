"""A content taken apart into what is said, what is shown and what is asked; and put together again."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from ostinato import templates
from ostinato.core import hashing
from ostinato.core.errors import Invalid
from ostinato.datasets.model import Example
from ostinato.optimization.model import Candidate
from ostinato.optimization.search.literal import literal
from ostinato.prompts import Content, Draft, Turn, contents

Layout: TypeAlias = Literal["turns", "text"]
"""Examples as turns of the conversation, or as text before the question."""

GAP = "\n\n"
CUE = "Answer:"
"""What ends a question in a text that must go on with the answer."""


class Anatomy(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything stands in a content."""

    content: Content
    before: tuple[Turn, ...]
    """Turns before the one that asks."""
    spoken: int
    """Which of them is the instruction; -1: it stands in ``lead``."""
    lead: str
    """Fixed beginning of the asking turn (or of the text)."""
    question: str
    """The rest of it, from the line on where the first variable stands."""
    after: tuple[Turn, ...]

    @property
    def instruction(self) -> str:
        """Template of what is said before anything else; may be empty."""
        return self.before[self.spoken].template if self.spoken >= 0 else self.lead

    @property
    def chat(self) -> bool:
        return self.content.kind == "chat"

    @property
    def turns(self) -> int:
        """Further turns before the asking one: examples that the author wrote."""
        return len(self.before) - (self.spoken >= 0)


class Shot(msgspec.Struct, frozen=True):
    """An example as it stands in a prompt: templates that render to exactly what they say."""

    example: str
    question: str
    answer: str


class Unusable(Exception):
    """What came of an edit is no candidate; the text says why."""


def no_pieces(name: str, number: int) -> Content:
    """For contents without partials."""
    raise Invalid(f"The partial {name!r} is not at hand.", code="partial_not_found", hint=f"Version {number} of it.")


def take_apart(content: Content, pieces: contents.Pieces = no_pieces) -> Anatomy:
    """Find instruction and question. Never fails: what cannot be cut is all question."""
    if content.kind != "chat":
        lead, question = _cut(content.text, content, pieces)
        return Anatomy(content=content, before=(), spoken=-1, lead=lead, question=question, after=())
    turns = content.messages
    varying = [_varies(turn.template, content, pieces) for turn in turns]
    users = [index for index, turn in enumerate(turns) if turn.role == "user"]
    asking = max((index for index in users if varying[index]), default=users[-1] if users else len(turns) - 1)
    before, after = turns[:asking], turns[asking + 1 :]
    lead, question = _cut(turns[asking].template, content, pieces)
    spoken = next((index for index, turn in enumerate(before) if turn.role in ("system", "developer")), -1)
    if lead:
        spoken = -1  # what stands closest to the question is what is said about it
    return Anatomy(content=content, before=before, spoken=spoken, lead=lead, question=question, after=after)


def behind(anatomy: Anatomy, pieces: contents.Pieces = no_pieces) -> tuple[str, str]:
    """The question without the fixed lines at its end, and those lines; empty where there are none to move.

    A last line with a colon at its end stays: it says where the answer goes.
    """
    question, content = anatomy.question, anatomy.content
    uses = _compiled(question, content, pieces).uses
    if not uses:
        return question, ""
    end = question.find("\n", max(use.at for use in uses))
    rest = question[end:].strip() if end >= 0 else ""
    if not rest:
        return question, ""
    cue = ""
    lines = rest.splitlines()
    if lines[-1].rstrip().endswith(":"):
        cue = "\n" + lines.pop()
        rest = "\n".join(lines).strip()
    asked = question[:end] + cue
    try:
        if not rest or _compiled(rest, content, pieces).uses:
            return question, ""
        if {use.path for use in _compiled(asked, content, pieces).uses} != {use.path for use in uses}:
            return question, ""
    except Invalid:
        return question, ""
    return asked, rest


def fixed(text: str, content: Content, pieces: contents.Pieces = no_pieces) -> bool:
    """Whether ``text`` is a template by itself that takes no variable."""
    return not _varies(text, content, pieces, broken=True)


def put_together(
    anatomy: Anatomy, *, instruction: str, shots: Sequence[Shot], layout: Layout, question: str = ""
) -> Content:
    """The content with another instruction, and with examples between it and the question."""
    asked = question or anatomy.question
    if not anatomy.chat:
        return msgspec.structs.replace(anatomy.content, text=_text(instruction, shots, asked))
    before = list(anatomy.before)
    lead = anatomy.lead
    if anatomy.spoken >= 0:
        said = before[anatomy.spoken]
        before[anatomy.spoken] = Turn(said.role, instruction)
        if not instruction.strip():
            del before[anatomy.spoken]
    else:
        lead = instruction
    if layout == "text" and shots:
        turns = [Turn("user", _text(lead, shots, asked))]
    else:
        # The instruction of a prompt that has but one turn goes to the first example: fixed text stays in front.
        questions = [*(shot.question for shot in shots), asked]
        questions[0] = _joined(lead, questions[0])
        turns = [Turn("user", text) for text in questions]
        for place, shot in reversed(list(enumerate(shots, 1))):
            turns.insert(place, Turn("assistant", shot.answer))
    return msgspec.structs.replace(anatomy.content, messages=(*before, *turns, *anatomy.after))


def shot_of(example: Example, anatomy: Anatomy, pieces: contents.Pieces = no_pieces, question: str = "") -> Shot | None:
    """``example`` as it stands in a prompt, or ``None`` where it cannot: no answer, values that are no text for it."""
    answer = answer_of(example)
    if not answer or example.erased:
        return None
    content = anatomy.content
    try:
        template = templates.compile_template(
            question or anatomy.question, content.format, contents.compile_partials(content.partials, pieces)
        )
        asked = template.render(example.inputs)
    except Invalid:
        return None
    written = literal(asked, content.format)
    answered = literal(answer, content.format)
    return None if written is None or answered is None else Shot(example.id, written, answered)


def answer_of(example: Example) -> str:
    """The right answer as a model would write it; empty where there is none."""
    reference = example.reference
    if reference is None:
        return ""
    return reference.strip() if isinstance(reference, str) else hashing.canonical_json(reference).decode()


def candidate(
    content: Content,
    base: Content,
    *,
    edit: str,
    parents: tuple[str, ...],
    shots: tuple[str, ...] = (),
    origin: str = "edit",
    largest: int = 0,
    pieces: contents.Pieces = no_pieces,
) -> Candidate:
    """The candidate with this content. Raises ``Unusable``: broken template, lost or new variable, too large."""
    draft = Draft(
        format=content.format,
        text=content.text if content.kind != "chat" else None,
        messages=content.messages if content.kind == "chat" else None,
        variables=base.variables,
        response_schema=base.response_schema,
        tools=base.tools,
        params=base.params,
    )
    try:
        built = contents.build(base.kind, draft, base.partials, pieces)
        lost = variables(base, pieces) - variables(built, pieces)
    except Invalid as error:
        raise Unusable(error.sentence) from None
    if lost:
        raise Unusable(f"It takes no {', '.join(map(repr, sorted(lost)))} any more, which the prompt is given.")
    size = sum(len(text.encode()) for _, text in contents.texts(built))
    if largest and size > largest:
        raise Unusable(f"Its templates have {size:,} bytes; {largest:,} are allowed.")
    return Candidate(id=identify(built), content=built, parents=parents, edit=edit, origin=origin, shots=shots)


def identify(content: Content) -> str:
    """First 16 hex digits of the content's digest."""
    return contents.digest(contents.encode(content))[:16]


def variables(content: Content, pieces: contents.Pieces = no_pieces) -> set[str]:
    """The outermost names that a content puts out or asks for."""
    return {name for template in contents.compile_texts(content, pieces) for name in template.variables}


def _text(lead: str, shots: Sequence[Shot], question: str) -> str:
    if not shots:
        return _joined(lead, question)
    # Every question ends as the last one does, so that the model sees where an answer goes.
    cue = "" if question.rstrip().endswith(":") else f"\n{CUE}"
    shown = [f"{shot.question.rstrip()}{cue} {shot.answer}" for shot in shots]
    return _joined(lead, GAP.join([*shown, question + cue]))


def _joined(lead: str, rest: str) -> str:
    return f"{lead.rstrip()}{GAP}{rest}" if lead.strip() else rest


def _cut(text: str, content: Content, pieces: contents.Pieces) -> tuple[str, str]:
    """Fixed beginning, and the rest from the line of the first variable on; the cut falls between two templates."""
    uses = _compiled(text, content, pieces).uses
    if not uses:
        return "", text
    at = text.rfind("\n", 0, min(use.at for use in uses)) + 1
    lead, rest = text[:at], text[at:]
    if not lead.strip():
        return "", text
    try:
        if _compiled(lead, content, pieces).uses:
            return "", text
        _compiled(rest, content, pieces)
    except Invalid:
        return "", text
    return lead.rstrip(), rest


def _varies(text: str, content: Content, pieces: contents.Pieces, *, broken: bool = False) -> bool:
    try:
        return bool(_compiled(text, content, pieces).uses)
    except Invalid:
        if broken:
            return True
        raise


def _compiled(text: str, content: Content, pieces: contents.Pieces) -> templates.Template:
    compiled: dict[str, Any] = contents.compile_partials(content.partials, pieces)
    return templates.compile_template(text, content.format, compiled)
