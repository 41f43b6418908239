"""Edits make prompts that say what they should, whatever stands in the examples."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_kit import LABELS, SCHEMA, candidate, chat, example, examples, rendered, text

from ostinato import templates
from ostinato.optimization.search import SearchPlan, anatomy
from ostinato.optimization.search.anatomy import Unusable
from ostinato.optimization.search.grammar import WORDINGS, Grammar, Recipe, labels_of
from ostinato.optimization.search.literal import literal
from ostinato.optimization.search.shots import WAYS, Shelf, spread
from ostinato.prompts import Content, Turn

NASTY = st.text(st.sampled_from("{}%#\\!>/^& ax\n\r\t'\"-.é😀\x00")) | st.text()


@given(NASTY, st.sampled_from(["plain", "jinja2"]))
@settings(max_examples=600)
def test_a_literal_comes_out_as_it_is(value: str, format: templates.Format):
    written = literal(value, format)
    if written is None:
        # Only what a format cannot hold at all.
        assert "\r" in value or any(0xD800 <= ord(c) < 0xE000 for c in value)
        return
    template = templates.compile_template(f"Before {{{{x}}}}\n{written}\n{{{{y}}}} behind", format)
    assert template.render({"x": "{{y}}", "y": "1"}) == f"Before {{{{y}}}}\n{value}\n1 behind"


@given(st.lists(NASTY, min_size=4, max_size=6, unique=True), NASTY, st.booleans(), st.sampled_from(["plain", "jinja2"]))
@settings(max_examples=150, deadline=None)
def test_examples_in_a_prompt_are_data(values: list[str], asked: str, chatty: bool, format: templates.Format):
    base = chat(format=format) if chatty else text(format=format)
    pool = [example(number, asked=value, label=value or "x") for number, value in enumerate(values)]
    grammar = Grammar(candidate(base), pool, SearchPlan(), seed=1)
    for layout in ("turns", "text"):
        usable = tuple(one.id for one in pool if one.id in grammar.shelf.texts)
        if not usable or (layout == "turns" and not chatty):
            continue
        made = grammar.make(Recipe(shots=usable, layout=layout), candidate(base))
        prompt = rendered(made, example(99, asked=asked))
        for one in pool:
            if one.id in usable:
                assert f"Question: {one.inputs['text']}\nTopic:" in prompt
        assert prompt.endswith(f"Question: {asked}\nTopic:")


BASES = [
    chat(),
    chat(system=""),
    chat(system="", user="Name the topic.\n\nQuestion: {{text}}\nTopic:"),
    chat(system="", user="{{text}}"),
    text(),
    text("{{text}}"),
    text("Name it. {{text}} Now?"),
    text("{{#text}}It is said: {{text}}{{/text}}{{^text}}Nothing{{/text}}"),
    text("Name it.\n{% if text %}\nQuestion: {{ text }}\n{% endif %}", format="jinja2"),
    Content(
        kind="chat",
        messages=(
            Turn("system", "You are helpful."),
            Turn("user", "Where is it?"),
            Turn("assistant", "card"),
            Turn("user", "{{text}}"),
        ),
        variables=SCHEMA,
    ),
]


@pytest.mark.parametrize("base", BASES)
def test_every_edit_keeps_variables_parameters_and_schema(base: Content):
    grammar = Grammar(candidate(base), examples(60), SearchPlan(), seed=3)
    made = 0
    for wording in WORDINGS:
        for way in WAYS:
            for layout in ("turns", "text"):
                try:
                    one = grammar.make(grammar.shown(way, 6, 0, wording=wording, layout=layout), candidate(base))  # type: ignore[arg-type]
                except Unusable:
                    continue
                made += 1
                assert anatomy.variables(one.content) == {"text"}
                assert (one.content.params, one.content.variables) == (base.params, base.variables)
                assert one.parents and len(one.shots) == 6
                prompt = rendered(one, example(5, "dev"))
                # What is asked comes last: all before it stays the same from one question to the next.
                assert prompt.rfind("dev 5: about my") > max(prompt.rfind(f"train {n}:") for n in range(60))
    assert made >= 20


def test_fixed_text_stands_first():
    grammar = Grammar(candidate(chat()), examples(60), SearchPlan(), seed=3)
    one = grammar.make(grammar.shown("drawn", 6, 0), grammar.base)
    first, second = rendered(one, example(1, "dev")), rendered(one, example(2, "dev"))
    shared = next(place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    assert shared >= first.index("dev 1")


def test_what_is_said_behind_the_question_can_be_said_before_it():
    base = chat(system="", user="Question: {{text}}\n\nName its topic.\nOne word only.\nTopic:")
    grammar = Grammar(candidate(base), examples(60), SearchPlan(), seed=0)
    front = grammar.front()
    assert front is not None and any(recipe == front for recipe in grammar.probe()[:6])
    said = rendered(grammar.make(front, grammar.base), example(3, "dev"))
    assert said == "Name its topic.\nOne word only.\n\nQuestion: dev 3: about my refund, please\nTopic:"
    shown = rendered(grammar.make(grammar.shown("drawn", 3, 0, front=front), grammar.base), example(3, "dev"))
    assert shown.count("Name its topic.") == 1 and shown.count("\nTopic:") == 4
    assert Grammar(candidate(chat()), examples(60), SearchPlan(), seed=0).front() is None


def test_without_rewording_only_examples_are_added():
    grammar = Grammar(candidate(chat()), examples(60), SearchPlan(rewrite=False), seed=0)
    for recipe in grammar.probe():
        assert recipe.wording == "own" and recipe.shots
        assert rendered(grammar.make(recipe, grammar.base), example(1, "dev")).startswith(
            "Name the topic of the question"
        )


def test_partials_are_read_by_whoever_knows_them():
    piece = Content(kind="partial", text="Question: {{text}}")
    base = chat(user="{{>asked}}\nTopic:", partials={"asked": 3})
    grammar = Grammar(candidate(base), examples(60), SearchPlan(), seed=0, pieces=lambda name, number: piece)
    made = grammar.make(grammar.shown("drawn", 3, 0), grammar.base)
    assert made.content.partials == {"asked": 3}
    assert sum("Question: train" in turn.template for turn in made.content.messages) == 3


def test_a_lost_variable_is_refused():
    base = chat(user="{{text}} of {{text}}")
    with pytest.raises(Unusable, match="'text'"):
        anatomy.candidate(chat(user="Nothing"), base, edit="", parents=())


@pytest.mark.parametrize("broken", ["{{text", "{{text}} {{other}}", "{{#text}}", "{{>piece}}"])
def test_a_broken_template_is_refused(broken: str):
    with pytest.raises(Unusable):
        anatomy.candidate(chat(user=broken), chat(), edit="", parents=())


def test_too_large_a_candidate_is_refused():
    with pytest.raises(Unusable, match="bytes"):
        anatomy.candidate(chat(system="x" * 900), chat(), edit="", parents=(), largest=500)


def test_an_instruction_with_variables_stays():
    base = chat(system="Name the topic for {{text}}.")
    grammar = Grammar(candidate(base), examples(60), SearchPlan(), seed=0)
    assert not grammar.rewordable
    assert all(recipe.wording == "own" for recipe in grammar.probe())
    with pytest.raises(Unusable, match="variables"):
        grammar.make(Recipe(wording="none", layout="turns"), candidate(base))


def test_the_probe_has_six_different_edits():
    for base in BASES[:6]:
        grammar = Grammar(candidate(base), examples(60), SearchPlan(), seed=3)
        made: set[str] = set()
        for recipe in grammar.probe():
            try:
                made.add(grammar.make(recipe, candidate(base)).id)
            except Unusable:
                continue
        assert len(made) >= 6


def test_labels_are_listed_and_taken_from_the_list():
    assert set(labels_of(examples(30))) == set(LABELS)
    assert labels_of([example(n, label=f"answer {n}") for n in range(30)]) == ()
    listed = WORDINGS["listed"]("Name the topic.", LABELS)
    assert all(label in listed for label in LABELS)
    assert WORDINGS["listed"](listed, LABELS) == listed
    assert WORDINGS["unlisted"]("The topics are:\n- refund\n- card\n- rate", LABELS) == "The topics are"


def test_no_example_twice_and_strata_are_even():
    shelf = Shelf(examples(90), {one.id: str(one.inputs["text"]) for one in examples(90)}, 7)
    by_id = {one.id: str(one.reference) for one in examples(90)}
    for way in WAYS:
        picked = shelf.pick(way, 12, 0)
        assert len(set(picked)) == 12
        assert {label: sum(by_id[one] == label for one in picked) for label in LABELS} == dict.fromkeys(LABELS, 4)
        assert picked == shelf.pick(way, 12, 0) and picked != shelf.pick(way, 12, 1)
    heavy = shelf.pick("drawn", 12, 0, {"card": 3.0})
    assert sum(by_id[one] == "card" for one in heavy) > 4


@given(st.permutations(list(range(40))), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_how_examples_were_sorted_says_nothing(order: list[int], seed: int):
    shuffled = [example(number) for number in order]
    straight = examples(40)
    assert [e.id for e in spread(shuffled, seed)] == [e.id for e in spread(straight, seed)]
    texts = {one.id: str(one.inputs["text"]) for one in straight}
    assert Shelf(shuffled, texts, seed).pick("typical", 9, 2) == Shelf(straight, texts, seed).pick("typical", 9, 2)


def test_every_beginning_of_the_rounds_holds_all_strata():
    order = spread([example(n, label="rare" if n % 10 == 0 else "often") for n in range(100)], 4)
    assert 2 <= sum(one.reference == "rare" for one in order[:30]) <= 4
