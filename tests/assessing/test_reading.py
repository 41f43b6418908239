"""Files as they come: formats, encodings, what is broken, what is too much; and nothing secret is printed."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ostinato.assessing import Assessment, Rules, assess, moments, page
from ostinato.assessing.model import Exchange
from ostinato.assessing.ordering import in_time
from ostinato.cache.policy import compile_policies
from ostinato.checks import Settings as ChecksSettings
from ostinato.cli.main import cli
from ostinato.core.clock import SystemClock
from ostinato.core.errors import Invalid
from ostinato.gateway.inspecting import compile_checkers
from ostinato.intents import compile_intents
from ostinato.traces import PriceBook
from ostinato.wire.model import ChatRequest, Message, Text

RULES = Rules(
    policies=compile_policies({}),
    intents=compile_intents({}, {}),
    checkers=compile_checkers({}, ChecksSettings()),
    prices=PriceBook.load(),
)
AT = 1_760_000_000
SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL"


def body(text: str = "How do I pay?", model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def answer(text: str = "By card.", model: str = "gpt-4o-mini") -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return {"id": "x", "object": "chat.completion", "created": AT, "model": model, "choices": [choice], "usage": usage}


def lines(path: Path, *records: Any) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in records))
    return path


def assessed(*paths: Path, **options: Any) -> Assessment:
    return assess(paths, RULES, SystemClock(), **options)


def unknown(found: Assessment) -> dict[str, int]:
    return {one.name: one.n for one in found.unknown}


def test_requests_alone_and_with_answers_are_one(tmp_path: Path) -> None:
    found = assessed(lines(tmp_path / "a", {"request": body(), "response": answer(), "timestamp": AT}, body()))
    assert (found.requests, found.rates.declared.hits) == (2, 1)
    assert found.files[0].formats == {"openai": 2}
    assert unknown(found)["answers"] == 1
    assert unknown(found)["times"] == 1


ANTHROPIC = {"model": "claude-sonnet-4-5", "max_tokens": 9, "system": "Be short.", "messages": body()["messages"]}
SAID = {
    "id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "end_turn",
    "content": [{"type": "text", "text": "By card."}], "usage": {"input_tokens": 100, "output_tokens": 10},
}  # fmt: skip
STREAM = (
    'data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o-mini","choices":[{"index":0,"delta":'
    '{"role":"assistant","content":"By card."},"finish_reason":null}]}\n\n'
    'data: {"id":"c","object":"chat.completion.chunk","model":"gpt-4o-mini","choices":[{"index":0,"delta":{},'
    '"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
GENERATION = {
    "id": "g", "traceId": "t", "type": "GENERATION", "startTime": "2025-10-09T08:53:20.000Z",
    "endTime": "2025-10-09T08:53:21.500Z", "model": "gpt-4o-mini", "modelParameters": {"temperature": "0.2"},
    "input": body()["messages"], "output": {"role": "assistant", "content": "By card."},
    "usageDetails": {"input": 100, "output": 10, "input_cached_tokens": 20}, "userId": "ann",
}  # fmt: skip


def span(**more: Any) -> dict[str, Any]:
    said = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "How?"}]}]),
        "gen_ai.output.messages": json.dumps(
            [{"role": "assistant", "parts": [{"type": "text", "content": "So."}], "finish_reason": "stop"}]
        ),
        "gen_ai.conversation.id": "s", **more,
    }  # fmt: skip
    attributes: list[Any] = [{"key": key, "value": {"stringValue": value}} for key, value in said.items()]
    attributes.append({"key": "gen_ai.usage.input_tokens", "value": {"intValue": "100"}})
    attributes.append({"key": "gen_ai.usage.output_tokens", "value": {"intValue": "10"}})
    times = {"startTimeUnixNano": f"{AT}000000000", "endTimeUnixNano": f"{AT + 1}000000000"}
    return {"name": "chat", "attributes": attributes, **times}


def exported(*spans: Any) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}


LLMETRY = {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "How?", "gen_ai.completion.0.content": "So."}
BARE = {"gen_ai.input.messages": "", "gen_ai.output.messages": ""}
RESULT = {"custom_id": "1", "response": {"status_code": 200, "body": answer()}, "error": None}
ASKED = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": body()}
FORMATS: list[tuple[str, str, list[Any]]] = [
    ("openai", "openai", [{"request": body(), "response": answer(), "ts": AT}]),
    ("wrapped", "openai", [{"request": {"body": body()}, "response": {"status": 200, "body": answer()}, "ts": AT}]),
    ("stream", "openai", [{"request": body(stream=True), "response": STREAM, "ts": AT}]),
    ("anthropic", "anthropic", [{"request": ANTHROPIC, "response": SAID, "ts": AT}]),
    ("responses", "responses", [{"model": "gpt-4o-mini", "input": "How?"}]),
    ("batch", "openai-batch", [ASKED, RESULT]),
    ("batch the other way round", "openai-batch", [RESULT, ASKED]),
    ("langfuse", "langfuse", [GENERATION]),
    ("langfuse page", "langfuse", [{"data": [GENERATION], "meta": {"page": 1}}]),
    ("langfuse trace", "langfuse", [{"id": "t", "userId": "ann", "observations": [GENERATION]}]),
    ("otlp", "otlp", [exported(span())]),
    ("openllmetry", "otlp", [exported(span(**BARE, **LLMETRY))]),
    ("a span", "otlp", [{"name": "chat", "attributes": {"gen_ai.request.model": "gpt-4o-mini", **LLMETRY}}]),
]


@pytest.mark.parametrize(("form", "records"), [one[1:] for one in FORMATS], ids=[one[0] for one in FORMATS])
def test_each_format_is_known_by_looking(tmp_path: Path, form: str, records: list[Any]) -> None:
    found = assessed(lines(tmp_path / "a.jsonl", *records))
    assert found.files[0].formats == {form: 1}, found.files
    assert found.files[0].skipped == 0
    assert found.money.spent > 0
    assert found.money.coverage == 1.0
    (family,) = found.families
    assert family.model in ("gpt-4o-mini", "claude-sonnet-4-5")


def test_the_same_question_is_the_same_in_langfuse_and_openai(tmp_path: Path) -> None:
    plain = {"request": body(temperature=0.2, user="ann"), "response": answer(), "ts": AT - 60}
    found = assessed(lines(tmp_path / "a", plain), lines(tmp_path / "b", GENERATION))
    assert found.rates.declared.hits == 1


def test_a_file_of_less_than_a_day_says_what_its_months_are(tmp_path: Path) -> None:
    hour = lines(tmp_path / "a", *({"request": body(), "response": answer(), "ts": AT + n * 3600} for n in range(2)))
    days = lines(tmp_path / "b", *({"request": body(), "response": answer(), "ts": AT + n * 90_000} for n in range(2)))
    assert "span" in unknown(assessed(hour)) and "span" not in unknown(assessed(days))


def test_lists_documents_csv_gzip_and_other_encodings(tmp_path: Path) -> None:
    records = [{"request": body(f"Frage über {n}"), "response": answer(), "ts": AT + n} for n in range(30)]
    (tmp_path / "list.json").write_text(json.dumps(records, ensure_ascii=False))
    (tmp_path / "page.json").write_text(json.dumps({"data": [GENERATION] * 3}, indent=2))
    (tmp_path / "wide.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-16")
    (tmp_path / "mark.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8-sig")
    (tmp_path / "packed.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    with (tmp_path / "table.csv").open("w", newline="") as file:
        names = ["id", "type", "startTime", "model", "input", "output", "traceId"]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerow({**GENERATION, "input": json.dumps(GENERATION["input"]), "output": "By card.\nReally."})
        file.write("a,b\n")
    found = assessed(*sorted(tmp_path.iterdir()))
    assert [(Path(one.name).name, one.read, one.skipped) for one in found.files] == [
        ("list.json", 30, 0),
        ("mark.jsonl", 30, 0),
        ("packed.gz", 30, 0),
        ("page.json", 3, 0),
        ("table.csv", 1, 1),
        ("wide.jsonl", 30, 0),
    ]


def test_what_is_broken_is_told_by_its_line_and_costs_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    good = json.dumps({"request": body(), "response": answer(), "ts": AT}).encode()
    bad = [
        b'{"request": {"model"',
        b"[1, 2]",
        b"\xff\xfe\xfd",
        b'{"nothing": 1}',
        b'{"model": "m", "messages": 5}',
        b"{" * 900,
    ]
    file.write_bytes(b"\n".join([good, *bad, b"", good]))
    (found,) = assessed(file).files
    assert (found.read, found.skipped) == (2, 6)
    assert [one.line for one in found.reasons] == [2, 3, 4, 5, 6]
    packed = tmp_path / "cut.gz"
    packed.write_bytes(gzip.compress(good + b"\n" + good * 2000)[:-40])
    assert "damaged" in assessed(packed).files[0].note
    (tmp_path / "empty").write_bytes(b"")
    empty = assessed(tmp_path / "empty")
    assert (empty.requests, empty.files[0].note) == (0, "It is empty.")
    assert "Nothing could be replayed" in page(empty)
    with pytest.raises(Invalid, match="cannot be read"):
        assessed(tmp_path / "nowhere")


def test_times_that_cannot_be_are_no_times_and_order_is_by_time(tmp_path: Path) -> None:
    def at(moment: Any, text: str) -> dict[str, Any]:
        return {"request": body(text), "response": {**answer(), "created": 0}, "timestamp": moment}

    records = [
        at(AT + 90_000, "a"),
        at(AT, "a"),
        at("1970-01-01T00:00:01Z", "b"),
        at(9_999_999_999, "b"),
        at("soon", "b"),
    ]
    found = assessed(lines(tmp_path / "a", *records))
    assert unknown(found)["times"] == 3
    assert found.rates.declared.hits == 2  # of the three that came at once; a day and more lies between the others
    assert found.rates.ever.value == 3 / 5
    assert (found.since, found.until) == (AT * 1_000_000, (AT + 90_000) * 1_000_000)


@given(st.integers(1_420_070_400, 1_900_000_000))
def test_a_time_is_the_same_in_every_unit(seconds: int) -> None:
    now = 2_000_000_000_000_000
    units = [seconds, seconds * 10**3, seconds * 10**6, seconds * 10**9, str(seconds)]
    assert {moments.moment(one, now) // 10**6 for one in units} == {seconds}


@given(st.lists(st.tuples(st.integers(0, 50), st.text(max_size=5)), max_size=60), st.integers(1, 40))
def test_order_does_not_depend_on_how_much_fits_into_memory(told: list[tuple[int, str]], chunk: int) -> None:
    def made(number: int, at: int, text: str) -> Exchange:
        return Exchange(at, number, ChatRequest("m", (Message("user", (Text(text, {"big": 2**70}),)),)))

    some = [made(number, at, text) for number, (at, text) in enumerate(told)]
    assert list(in_time(((one, 3) for one in some), chunk)) == sorted(some, key=lambda one: (one.at, one.number))


def test_a_family_explosion_stays_bounded(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as file:
        for number in range(3_000):
            messages = [
                {"role": "system", "content": f"You are {'x' * (number % 97)} {number:b}{'y' * (number % 89)}z"}
            ]
            record = {"model": "gpt-4o-mini", "messages": [*messages, *body()["messages"]], "ts": AT + number}
            file.write(json.dumps(record) + "\n")
    found = assessed(tmp_path / "a", most_keys=500)
    assert found.requests == 3_000
    assert len(found.families) <= 20
    assert found.forgotten >= 2_000


def test_secrets_and_markup_are_printed_nowhere(tmp_path: Path) -> None:
    nasty = f"<script>alert(1)</script> {SECRET} ann@example.org"
    log = lines(
        tmp_path / "<b>.jsonl",
        *[{"request": body(nasty, user=SECRET), "response": answer(SECRET), "ts": AT + n} for n in range(3)],
    )
    lines_of_secrets = log.read_text() + SECRET + "\n" + json.dumps({"custom_id": SECRET}) + "\n"
    log.write_text(lines_of_secrets)
    html = tmp_path / "page.html"
    for options in ([], ["--samples"], ["--json", "--samples"], ["--html", str(html), "--samples"]):
        ran = CliRunner().invoke(cli, ["assess", str(log), *options])
        assert ran.exit_code == 0, ran.output
        assert SECRET not in ran.output
        assert "ann@example.org" not in ran.output
        assert ("alert(1)" in ran.output) is ("--samples" in options)
    written = html.read_text()
    assert "<script" not in written
    assert "&lt;script&gt;" in written
    assert SECRET not in written


def test_the_command_ends_with_one_where_nothing_could_be_read(tmp_path: Path) -> None:
    ran = CliRunner().invoke(cli, ["assess", str(lines(tmp_path / "a", "nothing"))])
    assert ran.exit_code == 1
    assert "not JSON" in ran.output


def test_a_configuration_needs_no_secrets_where_nobody_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    config = tmp_path / "ostinato.toml"
    config.write_text(
        '[providers.openai]\nkind = "openai"\nbase_url = "https://api.openai.com/v1"\n'
        'api_key = {env = "NOT_SET_HERE"}\n'
        '[models.gpt-4o-mini]\ntargets = ["openai/gpt-4o-mini"]\n'
        '[embeddings]\nbase_url = "https://e.example/v1"\nmodel = "m"\napi_key = {file = "/no/such/file"}\n'
    )
    log = lines(tmp_path / "a", body(), body())
    ran = CliRunner().invoke(cli, ["assess", str(log), "--config", str(config)])
    assert ran.exit_code == 0, ran.output
    config.write_text('[providers.openai]\nkind = "openai"\napi_key = "sk-as-it-is"\n')
    ran = CliRunner().invoke(cli, ["assess", str(log), "--config", str(config)])
    assert "must point to a secret" in ran.output or "must point to a secret" in str(ran.exception)
