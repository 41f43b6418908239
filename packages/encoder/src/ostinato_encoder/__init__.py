"""all-MiniLM-L6-v2 as an int8 ONNX graph: the data of Ostinato's packaged sentence encoder.

``folder()`` holds ``model.onnx`` (input ``ids``: int64 of shape (1, tokens), special tokens included; output
``vectors``: float32 of shape (1, 384), of length 1) and ``tokenizer.json``. Made by ``scripts/encoder.py`` of Ostinato;
see NOTICE.
"""

from pathlib import Path

__version__ = "1.0.0"

NAME = "all-minilm-l6-v2-int8"
DIMENSIONS = 384
MAX_TOKENS = 256
"""Of one text, the two special ones included: the length that the model was trained for."""
SHA256 = {
    "model.onnx": "b0d7d07bb2d8f293d28f37caaec615904b1964095bdb06f2345bb943b8efa889",
    "tokenizer.json": "5fd1c882abbd30517dced455a2c9768945ec726b96727927e4959348d9de550b",
}
"""What the files must be: the same wherever they are built."""


def folder() -> Path:
    """Where the data lies."""
    return Path(__file__).parent / "data"
