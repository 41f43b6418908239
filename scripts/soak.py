"""Run the tests at full count (``make soak``), one after the other, and write down what came of them.

``OSTINATO_SOAK_REQUESTS`` (5,000,000) and ``OSTINATO_SOAK_KILLS`` (50 of each twentieth) make the two longest smaller.

Resumable: what has passed on this commit is not run again; stop it at any time and start it again. ``--again`` forgets.
``-k EXPRESSION`` chooses as pytest does. The result is appended to ``benchmarks/RESULTS.md`` with commit and machine.
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

ROOT = Path(__file__).parent.parent
STATE = ROOT / ".soak/state.json"
RESULTS = ROOT / "benchmarks/RESULTS.md"
PYTEST = [sys.executable, "-m", "pytest", "-m", "soak", "-p", "no:cacheprovider"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", dest="expression", default="", help="only tests that match, as pytest's -k")
    parser.add_argument("--again", action="store_true", help="forget what has passed on this commit")
    chosen = parser.parse_args()
    # However it ends, the test that it runs ends with it: ``subprocess.run`` kills its child when an exception passes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console()
    commit = described_commit()
    state = read_state(commit, chosen.again)
    tests = collected(chosen.expression)
    if not tests:
        console.print("No test is marked soak, or none matches.")
        return 1
    left = [test for test in tests if state.get(test, {}).get("outcome") != "passed"]
    console.print(f"{len(tests)} tests at full count on {commit}; {len(tests) - len(left)} have passed before.")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=len(tests), completed=len(tests) - len(left))
        for test in left:
            progress.update(bar, description=test.rpartition("/")[2][:70])
            state[test] = run(test)
            write_state(commit, state)
            progress.advance(bar)
            if state[test]["outcome"] != "passed":
                progress.console.print(f"{state[test]['outcome']}: {test}", style="red")
                progress.console.print(str(state[test]["output"]), markup=False, highlight=False)
    of_these = {test: state[test] for test in tests}
    append(commit, of_these)
    failed = [test for test, result in of_these.items() if result["outcome"] != "passed"]
    console.print(f"{len(tests) - len(failed)} passed, {len(failed)} failed. Appended to {RESULTS.relative_to(ROOT)}.")
    return 1 if failed else 0


def collected(expression: str) -> list[str]:
    ran = subprocess.run(
        [*PYTEST, "--collect-only", "-k", expression], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if ran.returncode not in (0, 5):
        raise SystemExit(f"The tests cannot be collected:\n{ran.stdout}{ran.stderr}")
    return [line for line in ran.stdout.splitlines() if "::" in line and not line.startswith(" ")]


def run(test: str) -> dict[str, object]:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        command = [*PYTEST, f"--junit-xml={report}", "-o", "junit_family=xunit1", test]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        told = figures(report)
    outcome = "passed" if ran.returncode == 0 and re.search(r"\b1 passed", ran.stdout) else "failed"
    if ran.returncode == 0 and outcome == "failed":
        outcome = "skipped"
    seconds = round(time.monotonic() - begun, 1)
    output = "" if outcome == "passed" else ran.stdout[-4000:]
    return {"outcome": outcome, "seconds": seconds, "figures": told, "output": output}


def figures(report: Path) -> str:
    """What the test noted with ``record_property``."""
    if not report.exists():
        return ""
    noted = ElementTree.parse(report).iter("property")
    return "; ".join(f"{one.get('name')} {one.get('value')}" for one in noted)


def described_commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = "+" if git("status", "--porcelain", "src") else ""
    # Counts that were made smaller are another thing to have passed, and are said.
    counts = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("OSTINATO_SOAK_"))
    return " ".join([(git("rev-parse", "--short", "HEAD") or "unknown") + changed, *counts])


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores {platform.machine()}, {memory:.0f} GiB, Python {platform.python_version()}"


def read_state(commit: str, again: bool) -> dict[str, dict[str, object]]:
    if again or not STATE.exists():
        return {}
    return json.loads(STATE.read_text(encoding="utf-8")).get(commit, {})


def write_state(commit: str, state: dict[str, dict[str, object]]) -> None:
    STATE.parent.mkdir(exist_ok=True)
    draft = STATE.with_suffix(".draft")
    draft.write_text(json.dumps({commit: state}), encoding="utf-8")
    draft.replace(STATE)


def append(commit: str, results: dict[str, dict[str, object]]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        f"\n## Soak, {when}, commit {commit}\n",
        f"{machine()}.\n",
        "| test | outcome | seconds | measured |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{test}` | {result['outcome']} | {result['seconds']} | {result.get('figures', '')} |"
        for test, result in results.items()
    ]
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
