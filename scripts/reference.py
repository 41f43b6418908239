"""Write the reference pages from the code: ``python scripts/reference.py``; ``--check`` only compares.

Whatever can be read from the code is read from it, so a page cannot go stale unnoticed: a test runs the comparison.
"""

import ast
import asyncio
import importlib
import inspect
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_origin

import click
import msgspec

from ostinato import intents, kpis, providers
from ostinato.app import App
from ostinato.cache.model import Policy
from ostinato.checks.model import Rule
from ostinato.cli.main import cli
from ostinato.config import parse
from ostinato.config.model import SECTIONS
from ostinato.config.reading import Source
from ostinato.core.errors import OstinatoError
from ostinato.evals.retrieval import Settings as RetrieverSettings
from ostinato.intents import stakes
from ostinato.intents.model import CacheRules, Kpi, Match, Retention, Review
from ostinato.providers.settings import LocalSettings
from ostinato.routing.model import Route, Target
from ostinato.traces.prices import Tariff
from ostinato.traces.settings import Otel
from ostinato.web.api.application import HANDLERS
from ostinato.web.api.guarding import PERMISSION

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs/reference"
WRITTEN = "<!-- Written by scripts/reference.py from the code: change the code, then run `make docs`. -->\n"


def pages() -> dict[str, str]:
    """File name -> text."""
    return {
        "configuration.md": configuration(),
        "cli.md": command_line(),
        "api.md": control_plane(),
        "metrics.md": metrics(),
        "errors.md": errors(),
        "stakes.md": stakes_page(),
        "kpis.md": kpis_page(),
    }


# --- configuration ------------------------------------------------------------------------------------------------


def configuration() -> str:

    out = [
        "# Configuration\n",
        "`ostinato.toml`, read once at the start. Unknown names are refused, with file, line and what is allowed."
        " `OSTINATO_<SECTION>_<KEY>` in the environment overrides a key of a section below (not of a named table)."
        " `ostinato config show` prints what is in force, secrets masked.\n",
        "## Sections\n",
    ]
    for name, kind in SECTIONS.items():
        if name == "checks":
            continue  # its rules are declarations, see below; the rest is shown there
        out.append(f"### `[{name}]`\n")
        out.append(_fields(kind, leave={"otel"}))
        if name == "traces":
            out += ["### `[traces.otel]`\n", _fields(Otel)]
    out += [
        "### `[checks]`\n",
        _fields(SECTIONS["checks"], leave={"rules"}),
        "## Named tables\n",
        "### `[providers.NAME]`\n",
        'A secret is never written here but pointed to: `api_key = { env = "NAME" }` or `{ file = "PATH" }`;'
        " `api_keys` is a list of such references, used in turn. Kinds: "
        + ", ".join(f"`{kind}`" for kind in sorted(providers.KINDS))
        + ".\n",
        _fields(providers.Settings, leave={"api_keys", "local"}),
        "### `[providers.NAME.local]`\n",
        _fields(LocalSettings),
        "### `[retrievers.NAME]`\n",
        "What the chains of experiments may search: see [retrieval](../how-to/retrieval.md).\n",
        _fields(RetrieverSettings),
        "Declarations, below, are applied to the database at the start as a versioned change by the actor `config`, and"
        " are then read-only over the API. What the file does not declare can be declared over the API.\n",
        "### `[models.ALIAS]`\n",
        'A target is `"provider/model"`, or a table with the fields of the second list.\n',
        _fields(Route, leave={"digest"}),
        _fields(Target, leave={"digest"}),
        '### `[prices."PROVIDER/MODEL"]`\n',
        "A table, or a list of them with different dates. What is not declared is taken from the shipped list.\n",
        _fields(Tariff),
        "### `[policies.NAME]`\n",
        "Beside these fields `project` and `alias` say for whom; left out, they stand for all. The most specific policy"
        " holds whole.\n",
        _fields(Policy, leave={"version"}),
        "### `[checks.rules.NAME]`\n",
        _fields(Rule, leave={"name"}),
        "### `[intents.NAME]`\n",
        "What [stakes](stakes.md) bring along holds where nothing is declared, and bounds it where they are high.\n",
        _fields(intents.Declaration),
        "`kpi_targets` is a list of tables:\n",
        _fields(Kpi),
        "`cache` sets fields of a policy for this intent:\n",
        _fields(CacheRules),
        "`review`, `retention` and `match`:\n",
        _fields(Review),
        _fields(Retention),
        _fields(Match),
    ]
    return "\n".join(out)


def stakes_page() -> str:
    """The page of ``intents.stakes``, whose table is the module's docstring; a test compares that with the code."""
    text = inspect.cleandoc(stakes.__doc__ or "")
    lines = text.splitlines()
    first, second, third = (number for number, line in enumerate(lines) if line.startswith("==="))
    starts = [match.start() for match in re.finditer("=+", lines[first])]
    rows = [
        [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        for line in (*lines[first + 1 : second], *lines[second + 1 : third])
    ]
    before, after = "\n".join(lines[:first]), "\n".join(lines[third + 1 :])
    out = [f"| {' | '.join(row)} |" for row in rows]
    out.insert(1, "| --- " * len(starts) + "|")
    told = re.sub(r"``([^`]*)``", r"`\1`", after).strip()
    return "\n".join(["# Stakes\n", before.strip() + "\n", *out, "", told + "\n"])


def kpis_page() -> str:
    """Every figure of the catalogue, group by group, and the presets."""
    out = [
        "# KPIs\n",
        "What each figure is made of. An interaction is a conversation, or a single request where no session is named."
        " See [how to look at them](../how-to/kpis.md).\n",
    ]
    for group in kpis.GROUPS:
        out += [f"## {group.capitalize()}\n", "| figure | unit | better | formula | shown with | cut by |"]
        out.append("| --- " * 6 + "|")
        for one in kpis.CATALOGUE.values():
            if one.group == group:
                pairs, cuts = (", ".join(f"`{name}`" for name in some) for some in (one.pairs, one.cuts))
                told = f"{_cell(one.title)}: {_cell(one.formula)}"
                told += "; worked out apart: asked for by name" if one.slow else ""
                out.append(f"| `{one.name}` | {one.unit} | {one.better} | {told} | {pairs} | {cuts} |")
        out.append("")
    out.append("## Presets\n")
    out += [f"- `{name}`: {', '.join(f'`{one}`' for one in members)}" for name, members in kpis.PRESETS.items()]
    return "\n".join(out) + "\n"


def _fields(kind: type[msgspec.Struct], leave: set[str] = frozenset()) -> str:
    """A struct's fields as a table: key, type, default, meaning."""
    told = dict(_told(kind))
    rows = ["| key | type | default | |", "| --- | --- | --- | --- |"]
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in leave:
            meaning = told.get(field.name, "")
            rows.append(f"| `{field.encode_name}` | {_type(field.type)} | {_default(field)} | {_cell(meaning)} |")
    return "\n".join(rows) + "\n"


def _told(kind: type) -> Iterator[tuple[str, str]]:
    """Field -> the string that stands below it in the source, of the class and those that it extends."""
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("ostinato"):
            (node,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            body = node.body  # pyright: ignore
            for field, after in pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                    value = after.value
                    if isinstance(value, ast.Constant) and isinstance(value.value, str):
                        yield field.target.id, inspect.cleandoc(value.value)  # pyright: ignore


def _type(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    name = getattr(origin, "__name__", "")
    if name == "Annotated":
        return _type(arguments[0])
    if name == "Literal":
        return " or ".join(f"`{value}`" for value in arguments)
    if name in ("UnionType", "Union"):
        return " or ".join(_type(part) for part in arguments if part is not type(None))
    if name in ("tuple", "list", "frozenset"):
        return f"list of {_type(arguments[0])}"
    if name == "dict":
        return "table"
    plain = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "date": "date"}
    return plain.get(kind.__name__, "table" if hasattr(kind, "__struct_fields__") else kind.__name__)


def _default(field: Any) -> str:
    if field.default is not msgspec.NODEFAULT:
        value = field.default
    elif field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    else:
        return "required"
    if value is None or value in ("", (), {}, []):
        return ""
    if isinstance(value, msgspec.Struct):
        return ""
    return f"`{msgspec.json.encode(value).decode()}`"


def _cell(text: str) -> str:
    return re.sub(r"``([^`]*)``", r"`\1`", " ".join(text.split())).replace("|", "\\|")


# --- command line -------------------------------------------------------------------------------------------------


def command_line() -> str:

    out = [
        "# Command line\n",
        "Commands talk to a running server: `OSTINATO_URL` says where (default `http://127.0.0.1:8000`), `OSTINATO_KEY`"
        " holds an API key. `init`, `serve` and `config` need none. `--json` prints what programs read.\n",
    ]
    for path, command in _commands(cli, ["ostinato"]):
        # As the command line itself has it: a command remembers the names of its first context.
        names = cli.context_settings.get("help_option_names")
        context = click.Context(
            command, info_name=" ".join(path), max_content_width=100, terminal_width=100, help_option_names=names
        )
        out.append(f"## `{' '.join(path)}`\n")
        out.append(f"```text\n{command.get_help(context).rstrip()}\n```\n")
    return "\n".join(out)


def _commands(command: click.Command, path: list[str]) -> Iterator[tuple[list[str], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield from _commands(found, [*path, name])


# --- control plane ------------------------------------------------------------------------------------------------


def control_plane() -> str:

    rows = []
    for handler in HANDLERS:
        for path in handler.paths:
            shown = re.sub(r"\{(\w+):\w+\}", r"{\1}", path)
            for method in sorted(handler.http_methods):
                told = _cell((inspect.getdoc(handler.fn) or "").split("\n\n")[0])
                rows.append((shown, method, handler.opt[PERMISSION], told))
    out = [
        "# Control plane\n",
        "Below `/api/v1`; the key as `Authorization: Bearer ost_...`. Errors are problem documents (RFC 9457) with"
        " `code` and `hint`. The schema of every body is served at `/api/v1/schema/openapi.json`.\n",
        "| path | method | permission | |",
        "| --- | --- | --- | --- |",
        *(f"| `{path}` | {method} | `{needed}` | {told} |" for path, method, needed, told in sorted(rows)),
    ]
    return "\n".join(out) + "\n"


# --- metrics ------------------------------------------------------------------------------------------------------


def metrics() -> str:
    page = asyncio.run(_scraped())
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    rows = [
        f"| `{name}` | {types.get(name, '')} | {_cell(told)} |"
        for name, told in re.findall(r"^# HELP (\S+) (.*)$", page, re.MULTILINE)
        if not name.endswith("_created")
    ]
    out = [
        "# Metrics\n",
        "`/metrics`, in Prometheus' text format; off loopback it takes a key with `metrics:read`. Buckets of durations"
        " begin at 0.5 ms.\n",
        "| name | type | |",
        "| --- | --- | --- |",
        *sorted(rows),
    ]
    return "\n".join(out) + "\n"


async def _scraped() -> str:

    with tempfile.TemporaryDirectory() as place:
        tables = {
            "storage": {"directory": place},
            "providers": {"fake": {"kind": "fake"}},
            "models": {"support": {"targets": ["fake/fake"]}},
        }
        app = App(parse(tables, Source("", ""), {}))
        await app.start()
        try:
            return app.metrics_page().decode()
        finally:
            await app.stop()


# --- errors -------------------------------------------------------------------------------------------------------


def errors() -> str:
    codes: dict[str, dict[str, set[str]]] = {}
    classes = _error_classes()
    for path in sorted((ROOT / "src/ostinato").rglob("*.py")):
        room = path.relative_to(ROOT / "src/ostinato").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name not in classes:
                continue
            for keyword in node.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    entry = codes.setdefault(str(keyword.value.value), {"kinds": set(), "rooms": set()})
                    entry["kinds"].add(name)
                    entry["rooms"].add(room)
    for name, kind in classes.items():
        entry = codes.setdefault(kind.default_code, {"kinds": set(), "rooms": set()})
        entry["kinds"].add(name)
    rows = []
    for code, entry in sorted(codes.items()):
        status = ", ".join(sorted({str(classes[name].status) for name in entry["kinds"]}))
        rows.append(f"| `{code}` | {status} | {', '.join(sorted(entry['rooms'])) or 'any'} |")
    out = [
        "# Error codes\n",
        "Every error has a stable code, a sentence and, where there is one, a hint: the way out. On `/v1` they come in"
        " the caller's own wire (OpenAI's or Anthropic's shape), elsewhere as problem documents. A status of 403 is 401"
        " where the caller is not known at all. What a provider says of the caller's own mistake (400, 404, 413, 422)"
        " passes unmodified.\n",
        "| code | status | raised by |",
        "| --- | --- | --- |",
        *rows,
    ]
    return "\n".join(out) + "\n"


def _error_classes() -> dict[str, Any]:

    for path in (ROOT / "src/ostinato").rglob("*.py"):
        if re.search(
            r"^class \w+\((Invalid|NotFound|Denied|Conflict|LimitReached|UpstreamFailed|Unavailable)\)",
            path.read_text(encoding="utf-8"),
            re.MULTILINE,
        ):
            parts = path.relative_to(ROOT / "src").with_suffix("").parts
            importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))

    def all_of(kind: type) -> Iterator[type]:
        yield kind
        for child in kind.__subclasses__():
            yield from all_of(child)

    return {kind.__name__: kind for kind in all_of(OstinatoError) if kind is not OstinatoError}


def main(arguments: list[str]) -> int:
    stale = []
    for name, text in pages().items():
        path, whole = TARGET / name, WRITTEN + "\n" + text
        if not path.exists() or path.read_text(encoding="utf-8") != whole:
            stale.append(name)
            if "--check" not in arguments:
                TARGET.mkdir(parents=True, exist_ok=True)
                path.write_text(whole, encoding="utf-8")
    if "--check" in arguments and stale:
        print(f"Out of date: {', '.join(stale)}. Run: make docs")
        return 1
    print(f"{'Written' if stale else 'Up to date'}: {', '.join(stale) or 'docs/reference'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
