"""Hooks of the fuzzer, which runs in a process of its own: let paths name what there is, but never the fuzzer's key.

``OSTINATO_FUZZ`` is a JSON file: ``own`` (names of the fuzzer's own key), ``names`` (path parameter, or path and
parameter, -> what exists).
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import schemathesis

_told: dict[str, Any] = json.loads(Path(os.environ["OSTINATO_FUZZ"]).read_text())
_random = random.Random(7)


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    parameters: dict[str, Any] = case.path_parameters or {}
    mode = getattr(getattr(getattr(case, "meta", None), "generation", None), "mode", None)
    own = _told["own"]
    for name, value in list(parameters.items()):
        known = _told["names"].get(f"{case.path} {name}") or _told["names"].get(f"{case.path.split('/')[3]} {name}")
        # What was made wrong on purpose stays so; half of the rest is about something that is there.
        if known and mode is not None and mode.is_positive and _random.random() < 0.5:
            parameters[name] = _random.choice(known)
        elif value in own or str(value)[:12] in own:
            parameters[name] = "none"
