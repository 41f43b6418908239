"""Write the demo's questions: eight intents of BANKING77, seventy questions each.

    python scripts/sample_questions.py SHARED

``SHARED`` holds ``data/banking77`` (``questions.csv`` with ``text`` and ``category``). The choice is by digest of the
text, so the same source gives the same file, whatever its order.
"""

import csv
import hashlib
import sys
from pathlib import Path

from ostinato.demo.task import INTENTS

PER_INTENT = 70
TARGET = Path(__file__).parent.parent / "src/ostinato/demo/data/questions.csv"


def normalized(text: str) -> str:
    """Texts that differ only in case, spaces or a closing mark count as one."""
    return " ".join(text.lower().split()).rstrip("?.! ")


def main(shared: Path) -> None:
    chosen: dict[str, dict[str, str]] = {intent: {} for intent in INTENTS}
    with (shared / "data/banking77/questions.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["category"] in chosen:
                text = row["text"].strip()
                chosen[row["category"]].setdefault(normalized(text), text)
    with TARGET.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "intent"])
        for intent, texts in chosen.items():
            ordered = sorted(texts.values(), key=lambda text: hashlib.sha256(text.encode()).digest())
            if len(ordered) < PER_INTENT:
                raise SystemExit(f"{intent} has {len(ordered)} questions, {PER_INTENT} are asked for")
            writer.writerows([text, intent] for text in ordered[:PER_INTENT])
    print(f"{TARGET.name}: {PER_INTENT * len(chosen)} questions")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
