"""Whatever stands in a file: reading ends, and says of each record what became of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostinato.assessing import Rules, assess
from ostinato.cache.policy import compile_policies
from ostinato.checks import Settings as ChecksSettings
from ostinato.core.clock import SystemClock
from ostinato.gateway.inspecting import compile_checkers
from ostinato.intents import compile_intents
from ostinato.traces import PriceBook

RULES = Rules(
    policies=compile_policies({}),
    intents=compile_intents({}, {}),
    checkers=compile_checkers({}, ChecksSettings()),
    prices=PriceBook.load(),
)
_NAMED = (
    "model messages role content request response body input output type custom_id url timestamp status error choices "
    "message finish_reason usage prompt_tokens traceId startTime modelParameters usageDetails data observations level "
    "attributes key value stringValue intValue arrayValue resourceSpans scopeSpans spans events name parts tool_calls "
    "gen_ai.request.model gen_ai.input.messages gen_ai.output.messages gen_ai.prompt gen_ai.prompt.0.content "
    "gen_ai.usage.input_tokens gen_ai.response.finish_reasons system user tools function arguments n stop result params"
)
NAMES = _NAMED.split()
WORDS = (
    "GENERATION",
    "user",
    "assistant",
    "tool",
    "gpt-4o-mini",
    "chat",
    "2025-01-01",
    '[{"role": 1}]',
    "{",
    "",
    "é\ud800",
)
leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
objects = st.recursive(
    st.dictionaries(st.sampled_from(NAMES), leaves, max_size=5),
    lambda inner: st.dictionaries(
        st.sampled_from(NAMES), leaves | inner | st.lists(leaves | inner, max_size=3), max_size=6
    ),
    max_leaves=25,
)


@pytest.mark.parametrize("form", ["", "openai", "anthropic", "responses", "openai-batch", "langfuse", "otlp"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(objects, min_size=1, max_size=30))
def test_any_record_is_read_or_skipped(tmp_path: Path, form: str, records: list[dict[str, Any]]) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps(one) + "\n" for one in records))
    found = assess([file], RULES, SystemClock(), form=form)
    (report,) = found.files
    assert report.read == found.requests
    assert all(1 <= one.line <= len(records) for one in report.reasons)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\x1f\x8b", b"[", b"{", b"\xff\xfe", b"id,input,output\n", b'[{"a":1},']),
)
def test_any_bytes_are_a_file(tmp_path: Path, data: bytes, head: bytes) -> None:
    file = tmp_path / "a"
    file.write_bytes(head + data)
    assert assess([file], RULES, SystemClock()).requests == 0
