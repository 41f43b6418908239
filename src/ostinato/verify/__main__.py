"""``python -m ostinato.verify BUNDLE``: exit code 0 where the chain is valid, 1 where it is not, 2 where nothing can
be told."""

import argparse
import sys
from pathlib import Path

from ostinato.verify import Broken, Verifier, read_anchor, verify


def main(arguments: list[str] | None = None) -> int:
    """Verify, print the report, give the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ostinato.verify", description="Verify a bundle of the audit log, offline."
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--checkpoint", type=Path, action="append", default=[], help="a file with a checkpoint that you trust"
    )
    parser.add_argument(
        "--anchor", type=Path, action="append", default=[], help="a file, or a git repository, of checkpoints"
    )
    parser.add_argument("--public-key", help="the log's key as you know it, NAME+HASH+KEY, or a file with it")
    parser.add_argument("--allow-older", action="store_true", help="the bundle may end before the anchor's newest")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    out = sys.stdout.write
    try:
        trusted = [one for path in (*given.checkpoint, *given.anchor) for one in read_anchor(path)]
        key = read_key(given.public_key) if given.public_key else None
        report = verify(given.bundle, trusted, key, allow_older=given.allow_older)
    except (Broken, OSError) as error:
        sys.stderr.write(f"verify: {error}\n")
        return 2
    out((report.as_json() if given.json else "\n".join(report.lines())) + "\n")
    return 0 if report.valid else 1


def read_key(given: str) -> Verifier:
    """A key as it is given: itself, or a file that holds it. Raises ``Broken``."""
    if "+" not in given or Path(given).is_file():
        try:
            given = Path(given).read_text(encoding="utf-8")
        except OSError as error:
            raise Broken(f"{given} is neither a key nor a file: {error.strerror}") from None
    return Verifier.read(given)


if __name__ == "__main__":
    sys.exit(main())
