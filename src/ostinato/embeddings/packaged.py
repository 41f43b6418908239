"""The packaged encoder: an ONNX graph on this machine's processor, on one thread of its own.

Each text runs alone. Texts padded to a common length would be a third quicker together, but then a vector would depend
on what else happened to be asked for, and a score could not be repeated.
"""

import asyncio
import hashlib
import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from ostinato.core.errors import Unavailable
from ostinato.embeddings.model import INSTALL, EmbedderMissing, writable

if TYPE_CHECKING:
    from ostinato.embeddings.model import Vectors

_PIECE: Final = 16
"""Texts that one caller may keep the thread for (some 20 ms) while others wait."""
_MOST_CHARACTERS: Final = 16_384
"""Of a text that word pieces are looked for in: finding those of a whole book to keep 256 would take a second."""
_MODULES: Final = {"numpy": "numpy", "onnxruntime": "onnxruntime", "tokenizers": "tokenizers"}


def missing() -> str:
    """What is not installed, in words; empty: everything is there. Imports nothing."""
    gone = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if gone:
        return f"The packaged encoder needs {', '.join(gone)}: the extra `embeddings`."
    if importlib.util.find_spec("ostinato_encoder") is None:
        return "The packaged encoder needs its weights: the package `ostinato-encoder` (21 MB, Apache-2.0)."
    return ""


class Packaged:
    """An ``Embedder``. Nothing is loaded (60 ms, 60 MB) before the first text comes."""

    def __init__(self, threads: int = 1, queue: int = 256) -> None:
        gone = missing()
        if gone:
            raise EmbedderMissing(gone, hint=INSTALL)
        self._package = package = importlib.import_module("ostinato_encoder")
        self._threads = threads
        self._queue = queue
        self._waiting = 0
        self._closed = False
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="ostinato-encoder")
        self._model: _Model | None = None
        sums = "".join(package.SHA256[name] for name in sorted(package.SHA256))
        self._id = f"{package.NAME}@{hashlib.sha256(sums.encode()).hexdigest()[:8]}"

    @property
    def id(self) -> str:
        return self._id

    @property
    def dimensions(self) -> int:
        return int(self._package.DIMENSIONS)

    @property
    def cut(self) -> int:
        """Texts so far of which only the first 256 word pieces were looked at."""
        return self._model.cut if self._model is not None else 0

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """See ``Embedder``. Of a text longer than 256 word pieces (about 200 words) the rest is left out."""
        import numpy as np  # noqa: PLC0415 - with the extra only, and not at start

        if self._closed:
            raise Unavailable("The encoder is stopped.", code="embeddings_unavailable")
        if self._waiting >= self._queue:
            raise Unavailable(
                f"{self._waiting} calls wait for the encoder already.",
                code="embeddings_busy",
                hint="Try again later, or raise embeddings.queue.",
                retry_after=1.0,
            )
        found = np.empty((len(texts), self.dimensions), np.float32)
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            for at in range(0, len(texts), _PIECE):
                piece = texts[at : at + _PIECE]
                found[at : at + len(piece)] = await loop.run_in_executor(self._worker, self._embed, piece)
        except RuntimeError as error:
            if self._closed:
                raise Unavailable("The encoder is stopped.", code="embeddings_unavailable") from error
            raise
        finally:
            self._waiting -= 1
        return found

    async def close(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._worker.shutdown, wait=True, cancel_futures=True)
        self._model = None

    def _embed(self, texts: Sequence[str]) -> "list[Vectors]":
        """On the thread."""
        if self._model is None:
            self._model = _Model(self._package, self._threads)
        return [self._model.vector(text) for text in texts]


class _Model:
    """Word pieces and graph, loaded; used by one thread."""

    def __init__(self, package: ModuleType, threads: int) -> None:
        import onnxruntime  # noqa: PLC0415 - a tenth of a second
        from tokenizers import Tokenizer  # noqa: PLC0415

        folder: Path = package.folder()
        graph = _read(folder / "model.onnx", package.SHA256["model.onnx"])
        pieces = _read(folder / "tokenizer.json", package.SHA256["tokenizer.json"])
        runtime: Any = onnxruntime  # its types are not told
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Waiting threads that spin would take a core from the gateway.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Every length would leave a plan of its own.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        self._session: Any = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._pieces: Any = Tokenizer.from_buffer(pieces)
        self._most = int(package.MAX_TOKENS)
        self._end: int = self._pieces.encode("").ids[-1]
        self.cut = 0

    def vector(self, text: str) -> "Vectors":
        import numpy as np  # noqa: PLC0415

        ids: list[int] = self._pieces.encode(writable(text[:_MOST_CHARACTERS])).ids
        if len(ids) > self._most or len(text) > _MOST_CHARACTERS:
            self.cut += 1
            if len(ids) > self._most:
                ids = [*ids[: self._most - 1], self._end]
        return self._session.run(["vectors"], {"ids": np.array([ids], np.int64)})[0][0]


def _read(path: Path, expected: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EmbedderMissing(f"The encoder's {path.name} cannot be read ({error.strerror}).", hint=INSTALL) from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise EmbedderMissing(f"The encoder's {path.name} is damaged: its checksum is wrong.", hint=INSTALL)
    return data
