"""A wrong configuration is refused with file, line, key and what is allowed; a right one says what is in force."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato import config
from ostinato.cli import main
from ostinato.config import reading

PROVIDER = '[providers.p]\nkind = "fake"\n'
MODEL = f'{PROVIDER}[models.a]\ntargets = ["p/x"]\n'

STATIC: dict[str, tuple[str, int | None, list[str]]] = {
    # Text, line, and what the message says.
    "not TOML": ("[server\nport = 1", None, ["is not TOML", "line 1"]),
    "an unknown section": ("\n[sevrer]\nport = 1\n", 2, ["[sevrer]", "Did you mean server?", "providers"]),
    "the start of a name": ('\n[model.a]\ntargets = ["x/y"]\n', 2, ["[model]", "Did you mean models?"]),
    "a section that is a value": ("server = 5\n", 1, ["[server]"]),
    "an unknown key": ("[server]\nport = 8000\nprot = 1\n", 3, ["server.prot", "Did you mean port?", "drain_seconds"]),
    "a text for a number": (
        '[server]\n# a comment\nport = "x"\n',
        3,
        ["server.port must be a whole number, not a text"],
    ),
    "a port below zero": ("[server]\nport = -1\n", 2, ["server.port must be a whole number of at least 0"]),
    "a port that is none": ("[server]\nport = 99999\n", 2, ["server.port must be a whole number of at most 65535"]),
    "no time for a request": ("[server]\nslow_request_seconds = 0\n", 2, ["server.slow_request_seconds"]),
    "an unknown level": ('[log]\nlevel = "chatty"\n', 2, ["log.level", "'chatty'", "debug", "warning"]),
    "an unknown level of the server": ('[server]\nlog_level = "x"\n', 2, ["server.log_level", "info"]),
    "a size below zero": ("[cache]\nmemory_bytes = -5\n", 2, ["cache.memory_bytes is -5", "from 0"]),
    "a time that is no number": ("[gateway]\ndeadline_seconds = nan\n", 2, ["gateway.deadline_seconds", "from 0"]),
    "an endless time": ("[routing]\nbackoff = inf\n", 2, ["routing.backoff", "from 0"]),
    "a nested unknown key": ("[traces.otel]\nenabld = true\n", 2, ["traces.otel.enabld", "enabled", "endpoint"]),
    "a nested wrong value": (
        "[traces]\notel.timeout = 'soon'\n",
        2,
        ["traces.otel.timeout must be a number, not a text"],
    ),
    "an unknown kind": (
        '[providers.p]\nkind = "opnai"\n',
        2,
        ["'opnai'", "Did you mean openai?", "anthropic", "ollama"],
    ),
    "a secret in the file": ('[providers.p]\nkind = "openai"\napi_key = "sk-x"\n', 3, ["providers.p.api_key", "env ="]),
    "a secret that is not set": ('[providers.p]\napi_key = { env = "NO_SUCH" }\n', 2, ["NO_SUCH", "export"]),
    "a secret that is not there": ('[providers.p]\napi_key = "file:/no/such"\n', 2, ["/no/such", "No such file"]),
    "keys that are no list": ('[providers.p]\napi_keys = "env:X"\n', 2, ["providers.p.api_keys", "list"]),
    "an unknown setting of a provider": (
        f"{PROVIDER}colour = 1\n",
        3,
        ["providers.p.colour", "api_key, kind", "base_url"],
    ),
    "a slip in a provider": (f"{PROVIDER}apikey = 1\n", 3, ["providers.p.apikey", "Did you mean api_key?"]),
    "a model that is a value": (f"{PROVIDER}[models]\na = 5\n", 4, ["models.a", "[models.a]"]),
    "a provider that is a value": ("[providers]\np = 5\n", 2, ["providers.p", "[providers.p]"]),
}


@pytest.mark.parametrize("name", STATIC)
def test_wrong_files_name_line_key_and_what_is_allowed(tmp_path: Path, name: str) -> None:
    text, line, needles = STATIC[name]
    path = tmp_path / "ostinato.toml"
    path.write_text(text)
    with pytest.raises(config.ConfigError) as caught:
        config.load(path, {})
    told = caught.value.sentence
    assert told.startswith(f"{path}, line {line}: " if line else f"{path} ")
    for needle in needles:
        assert needle in told, told
    assert "sk-x" not in told


DECLARED: dict[str, tuple[str, int, list[str]]] = {
    "no targets": (f"{PROVIDER}[models.a]\n", 3, ["models.a.targets", "provider/model"]),
    "an unknown provider": (
        f'{PROVIDER}[models.a]\n\ntargets = ["nope/x"]\n', 5, ["models.a.targets[0]", "Configured: p"]
    ),
    "an unknown strategy": (f'{MODEL}strategy = "random"\n', 5, ["models.a.strategy", "ordered, weighted"]),
    "a name with a dot": (f'{PROVIDER}[models."gpt-4.1"]\ntargets = ["x"]\n', 4, ["models.gpt-4.1.targets[0]"]),
    "an unknown price": (f'{MODEL}[prices."p/x"]\nimput = 1\n', 5, ["prices.p/x", "imput", "input, output"]),
    "a price below zero": (f'{MODEL}[prices."p/x"]\ninput = -1\noutput = 1\n', 5, ["prices.p/x", ">= 0"]),
    "an unknown setting of a policy": (f"{MODEL}[policies.q]\ntll = 1\n", 6, ["policies.q.tll", "ttl_jitter"]),
    "a wrong value of a policy": (f"{MODEL}[policies.q]\nttl = -1\n", 6, ["policies.q.ttl", "Allowed: 0.001"]),
    "an unknown check": (f'{MODEL}[policies.q]\nchecks = ["x"]\n', 6, ["policies.q.checks", "'x'"]),
    "two policies for the same": (f"{MODEL}[policies.q]\n[policies.r]\n", 6, ["'q' and 'r'"]),
    "an unknown kind of rule": (f'{MODEL}[checks.rules.r]\nkind = "virus"\n', 5, ["checks.rules.r", "secrets, pii"]),
    "a rule without terms": (
        f'{MODEL}[checks.rules.r]\nkind = "banned"\naction = "block"\n', 5, ["checks.rules.r.terms", "'r'"]
    ),
    "an absurd rate": (f"{MODEL}[access]\nrequests_per_minute = 0\n", 6, ["access.requests_per_minute", "from 1"]),
    "a provider without an address": ('[providers.p]\nkind = "vllm"\nbase_url = "no url"\n', 1, ["providers.p"]),
    "a spec that is none": ('[providers.p]\nkind = "fake"\nspec = "dance"\n', 1, ["providers.p", "'dance'", "latency"]),
    "a cache that is none": (f'{MODEL}[cache]\nurl = "memcached://x"\n', 6, ["cache.url", "valkey://host"]),
    "certificates that are not there": (
        f'{MODEL}[outbound]\nca_file = "/no/such"\n', 6, ["outbound.ca_file", "/no/such"]
    ),
    "a database that is none": (f'{MODEL}[storage]\nurl = "mysql://x"\n', 6, ["storage.url", "postgresql://"]),
    "notices by nobody": (f'{MODEL}[storage]\nvalkey = "http://x"\ndirectory = "D"\n', 6, ["storage.valkey", "valkey://"]),
}  # fmt: skip


@pytest.mark.parametrize("name", DECLARED)
def test_what_rooms_refuse_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    text, line, needles = DECLARED[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ostinato.toml"
    path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--config", str(path), "--port", "0"])
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert f"{path}, line {line}: " in told, told
    for needle in needles:
        assert needle in told, told
    assert "Traceback" not in told


def test_the_environment_overrides_and_is_named_when_it_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "ostinato.toml"
    path.write_text("[server]\nport = 1\n")
    found = config.load(path, {"OSTINATO_SERVER_PORT": "9001", "OSTINATO_CACHE_MEMORY_BYTES": "5", "OTHER": "x"})
    assert (found.server.port, found.cache.memory_bytes) == (9001, 5)
    for variable, value, needles in (
        ("OSTINATO_SERVER_PORT", "many", ["environment variable OSTINATO_SERVER_PORT", "server.port"]),
        ("OSTINATO_CACHE_MEMORY_BYTES", "-1", ["environment variable OSTINATO_CACHE_MEMORY_BYTES", "-1"]),
        ("OSTINATO_SERVER_PROT", "1", ["OSTINATO_SERVER_PROT", "port"]),
    ):
        with pytest.raises(config.ConfigError) as caught:
            config.load(path, {variable: value})
        for needle in needles:
            assert needle in caught.value.sentence


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="no configuration file") as caught:
        config.load(tmp_path / "nothing.toml", {})
    assert "ostinato init" in caught.value.sentence
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(config.ConfigError, match="UTF-8"):
        config.load(tmp_path / "bytes.toml", {})
    with pytest.raises(config.ConfigError, match="directory"):
        config.load(tmp_path, {})


def test_what_is_shown_hides_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "key"
    key.write_text("sk-from-file\n")
    path = tmp_path / "ostinato.toml"
    path.write_text(
        f"""
[storage]
url = "postgresql://me:hunter2@db/x"
valkey = "valkey://:hunter3@host"
[cache]
url = "valkey://me:hunter4@host:6379"
[traces.otel]
headers = {{ authorization = "Bearer hunter5" }}
[providers.a]
kind = "openai"
api_key = {{ env = "MY_KEY" }}
[providers.b]
kind = "openai"
api_keys = ["file:{key}", "env:MY_KEY"]
headers = {{ x-team = "hunter6" }}
query = {{ sig = "hunter7" }}
"""
    )
    monkeypatch.setenv("MY_KEY", "sk-from-env")
    main_in(["config", "show", "--config", str(path)])
    told = capsys.readouterr().out
    shown = json.loads(told)
    assert "hunter" not in told and "sk-from" not in told
    assert shown["storage"]["url"] == "postgresql://me:********@db/x"
    assert len(shown["providers"]["b"]["api_keys"]) == 2
    assert shown["server"]["port"] == 8000
    loaded = config.load(path)
    assert "sk-from" not in repr(loaded) and "hunter6" not in repr(loaded)
    assert [key.reveal() for key in loaded.providers["b"].api_keys] == ["sk-from-file", "sk-from-env"]


def main_in(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code


NAMES = st.text("abcxyz-_.4", min_size=1, max_size=8)


@given(
    st.lists(
        st.tuples(NAMES, st.lists(NAMES, min_size=1, max_size=4, unique=True)),
        min_size=1,
        max_size=4,
        unique_by=lambda t: t[0],
    ),
    st.data(),
)
def test_every_key_is_found_on_its_line(tables: list[tuple[str, list[str]]], data: st.DataObject) -> None:
    lines: list[str] = []
    places: list[tuple[str, str, int]] = []
    for table, keys in tables:
        lines += ["", f'[ models . "{table}" ]  # as written']
        for key in keys:
            lines.append(f'"{key}" = 1')
            places.append((table, key, len(lines)))
    source = reading.Source("f.toml", "\n".join(lines))
    table, key, line = data.draw(st.sampled_from(places))
    found = source.line_of("models", table, key)
    # Names with dots may spell another table's key; then either line is the right one.
    spelled = {number for other, name, number in places if f"{other}.{name}" == f"{table}.{key}"}
    assert found in spelled | {line}
    assert source.line_of("models", table, key, "deeper") in spelled | {line} | {
        number for other, name, number in places if f"{other}.{name}".startswith(f"{table}.{key}.deeper")
    }


def test_defaults_are_a_configuration() -> None:
    assert msgspec.json.encode(config.shown(config.Config()))
