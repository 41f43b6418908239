"""An answer that waits for a person: asked through SDKs, decided by a reviewer, across a crash of the server."""

import json
import signal
from collections.abc import Callable

import anthropic
import openai
from harness import Running

FALLBACK = "Somebody looks into it and comes back to you."
EXTRA = f"""
[intents.refunds]
stakes = "high"
owner = "care"
match = {{ aliases = ["plain"] }}
[intents.refunds.review]
hold = true
hold_queue = "refunds"
hold_fallback = "{FALLBACK}"
[intents.claims]
stakes = "critical"
owner = "care"
match = {{ aliases = ["claude"] }}
[intents.claims.review]
hold = true
"""


def test_held_across_a_crash_until_a_reviewer_says_so(new_gateway: Callable[..., Running]) -> None:
    gateway = new_gateway(EXTRA)
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key)
    question = [{"role": "user", "content": "I want my money back"}]
    calls = gateway.upstream.count()

    def streamed() -> tuple[str, dict[str, str]]:
        raw = client.chat.completions.with_raw_response.create(model="plain", messages=question, stream=True)  # pyright: ignore
        headers = {name.lower(): value for name, value in raw.headers.items()}
        text = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse() if chunk.choices)
        return text, headers

    text, headers = streamed()
    assert text == FALLBACK and headers["ostinato-cache"] == "bypass; reason=held"
    held = headers["ostinato-held"]
    status, _, data = gateway.send("GET", f"/v1/held/{held}")
    assert status == 202 and json.loads(data)["status"] == "pending"

    gateway.stop(signal.SIGKILL)
    gateway.start()

    text, headers = streamed()
    assert text == FALLBACK and headers["ostinato-held"] == held, "it waits still, and nobody is asked again"
    assert gateway.upstream.count() == calls + 1
    gateway.api("POST", "/principals", {"key": "rita", "name": "Rita"})
    gateway.api("POST", "/bindings", {"principal": "rita", "role": "reviewer"})
    rita = gateway.api("POST", "/keys", {"name": "rita", "principal": "rita", "role": "reviewer"})[1]["secret"]
    status, task = gateway.api("POST", "/reviews/queues/refunds/next", key=rita)
    assert status == 200 and task["content"]["input_text"] == "I want my money back"
    word = {"decision": "edit", "edited": "You get it back within two days.", "comment": "kinder"}
    status, item = gateway.api("POST", f"/reviews/items/{task['item']}/verdict", word, key=rita)
    assert status == 200 and (item["state"], item["outcome"]) == ("done", "edit")

    status, told, data = gateway.send("GET", f"/v1/held/{held}")
    assert status == 200 and told["ostinato-review"] == "verified"
    assert json.loads(data)["choices"][0]["message"]["content"] == "You get it back within two days."
    text, headers = streamed()
    assert text == "You get it back within two days." and headers["ostinato-cache"] == "hit-exact"
    assert gateway.upstream.count() == calls + 1, "one call for all of it"
    _, found = gateway.api("GET", "/audit/leaves?limit=500")
    actions = [one["leaf"]["action"] for one in found["items"] if one["leaf"]["action"].startswith("reviews:")]
    assert actions[::-1] == ["reviews:declare", "reviews:hold", "reviews:take", "reviews:decide"]
    log = gateway.log.read_text()
    assert "money back" not in log and "Traceback" not in log


def test_202_and_410_in_the_other_wire(new_gateway: Callable[..., Running]) -> None:
    gateway = new_gateway(EXTRA)
    client = anthropic.Anthropic(base_url=gateway.url, api_key=gateway.key)
    raw = client.messages.with_raw_response.create(
        model="claude", max_tokens=50, messages=[{"role": "user", "content": "Am I insured?"}]
    )
    assert raw.http_response.status_code == 202
    told = json.loads(raw.http_response.content)
    item = json.loads(gateway.cli("review", "next", "held", "--json"))["item"]
    assert "is done: reject" in gateway.cli("review", "decide", item, "reject", "--comment", "No.")
    status, _, data = gateway.send("GET", told["poll"])
    gone = json.loads(data)
    assert status == 410 and gone["type"] == "error" and gone["status"] == "rejected" and gone["fallback"] == ""
    assert gateway.send("GET", "/v1/held/" + "0" * 32)[0] == 404
    assert gateway.send("POST", told["poll"], {})[0] == 405
