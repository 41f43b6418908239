"""``explain``: everything behind one answer."""

from typing import Any

import click

from ostinato.cli.client import call, json_option, part, show
from ostinato.cli.tables import dollars, facts, milliseconds, when


@click.command()
@click.argument("request_id")
@json_option
def explain(request_id: str, as_json: bool) -> None:
    """Show what led to an answer: intent, prompt, release, approvals, cache, target, cost and the audit proof.

    REQUEST_ID is the header `x-request-id` of the answer: the server's own, or the one that the client sent.
    """
    show(call("GET", f"/explain/{part(request_id)}"), as_json, _print)


def _print(told: Any) -> None:
    for title, tell in (
        ("Request", _request),
        ("Intent", _intent),
        ("Prompt", _prompt),
        ("Release", _release),
        ("Input", _input),
        ("Cache", _cache),
        ("Target", _target),
        ("Cost", _cost),
        ("Audit proof", _audit),
    ):
        click.echo(click.style(title, bold=True))
        part_name = {"Audit proof": "audit"}.get(title, title.lower())
        if told.get(part_name) is None:
            click.echo(f"  absent: {told['absent'].get(part_name, 'unknown')}.")
        else:
            facts([(f"  {name}", value) for name, value in tell(told) if value not in (None, "", [], {})])
        click.echo()
    if told["others"]:
        click.echo(f"Other requests came with the same x-request-id: {', '.join(told['others'])}")


_Pairs = list[tuple[str, Any]]


def _request(told: Any) -> _Pairs:
    one = told["request"]
    return [
        ("id", one["request_id"]),
        ("client's id", one["client_request_id"]),
        ("time", when(one["at"])),
        ("project", one["project"]),
        ("key", one["key_id"]),
        ("asked", f"{one['alias'] or '-'} over {one['wire']}{', streamed' if one['stream'] else ''}"),
        ("status", f"{one['status']} {one['error'] or one['finish']}".strip()),
        ("took", f"{milliseconds(one['total_us'])} ms"),
    ]


def _intent(told: Any) -> _Pairs:
    one = told["intent"]
    return [("key", one["key"]), ("title", one["title"]), ("owner", one["owner"]), ("stakes", one["stakes"])]


def _prompt(told: Any) -> _Pairs:
    one = told["prompt"]
    return [
        ("version", f"{one['name']}@{one['number']}"),
        ("digest", one["digest"]),
        ("written", f"{when(one['created_at'])} by {one['author']} ({one['source']})"),
        ("message", one["message"]),
    ]


def _release(told: Any) -> _Pairs:
    one = told["release"]
    return [
        ("id", one["id"]),
        ("label", f"{one['label']} -> version {one['number']}, now {one['state']}"),
        ("arm", one["arm"]),
        ("proposed", f"{when(one['proposed_at'])} by {one['author']}"),
        ("reason", one["reason"]),
        ("digest", one["digest"]),
        *(
            (word["decision"], " ".join(filter(None, (when(word["at"]), "by", word["principal"], word["comment"]))))
            for word in one["approvals"]
        ),
        ("approvals needed", str(one["approvals_needed"])),
        *(
            (f"evidence {proof['name']}", f"{'passed' if proof['passed'] else 'failed'}, {proof['digest']}")
            for proof in one["evidence"]
        ),
    ]


def _input(told: Any) -> _Pairs:
    one = told["input"]
    return [
        ("digest", one["digest"]),
        ("fingerprint", one["fingerprint"]),
        ("input", one["input_text"]),
        ("answer", one["output_text"]),
    ]


def _cache(told: Any) -> _Pairs:
    one, origin = told["cache"], told["cache"]["origin"]
    first = told["absent"].get("cache.origin", "")
    if origin is not None:
        first = f"{origin['request_id']}, {when(origin['at'])}, {origin['target']}, {dollars(origin['cost'])}"
    return [
        ("result", f"{one['result']} {one['kind'] or one['reason']}".strip()),
        ("generation", one["generation"]),
        ("kept", "yes" if one["stored"] else None),
        ("age", f"{one['age_s']} s" if one["age_s"] is not None else None),
        ("first produced by", first),
    ]


def _target(told: Any) -> _Pairs:
    one = told["target"]
    tried = [f"{a['target']} {a['outcome']} {milliseconds(a['us'])} ms" for a in one["attempts"]]
    return [
        ("target", one["target"] + (" (then; now the cache)" if one["by_origin"] else "")),
        ("attempts", "; ".join(tried)),
    ]


def _cost(told: Any) -> _Pairs:
    one = told["cost"]
    tokens = {name: one[name] for name in ("input", "cache_read", "cache_write", "output", "reasoning") if one[name]}
    return [
        ("cost", dollars(one["cost"])),
        ("saved", dollars(one["saved"])),
        ("tokens", ", ".join(f"{name} {count}" for name, count in tokens.items())),
    ]


def _audit(told: Any) -> _Pairs:
    one = told["audit"]
    deeds = [
        (
            f"leaf {leaf['index']}",
            f"{leaf['action']} {leaf['resource']} by {leaf['principal'] or leaf['actor']}, {when(leaf['at'])}: "
            + (f"in the checkpoint of {leaf['proof']['size']} leaves" if leaf["proof"] else "not yet in a checkpoint"),
        )
        for leaf in one["leaves"]
    ]
    note = one["checkpoint"].splitlines()
    missing = [reason for name, reason in told["absent"].items() if name.startswith("audit.")]
    return [
        *deeds,
        ("more deeds", one["more"] or None),
        ("checkpoint", f"{note[0]}, {one['size']} leaves, root {note[2]}" if len(note) > 2 else "none yet"),
        ("note", "; ".join(missing)),
    ]
