"""A stand-in for a server of Text Embeddings Inference, which the suites want to be told of: its protocol, with vectors of hashed words.

`python tei.py PORT` serves /embed and /rerank on loopback. A word is a token, and no text may have more than 512 of them unless it is to be
truncated, as the real server refuses longer ones. Texts that share words are near each other; that is all the suites ask of it.
"""

from __future__ import annotations

import json
import re
import sys
from hashlib import blake2b
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy

DIM = 768
MOST = 512
WORDS = re.compile(r"\w+")


class TooLong(Exception):
    pass


def words(text: str, truncate: bool, direction: str) -> list[str]:
    found = WORDS.findall(text.lower())
    if len(found) <= MOST:
        return found
    if not truncate:
        raise TooLong(f"Input validation error: `inputs` must have less than {MOST} tokens. Given: {len(found)}")
    return found[-MOST:] if direction.lower() == "left" else found[:MOST]


def of_word(word: str) -> numpy.ndarray:
    seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
    return numpy.random.default_rng(seed).standard_normal(DIM)


def embedding(text: str, truncate: bool, direction: str) -> numpy.ndarray:
    # The empty text has a vector, too.
    total = sum((of_word(word) for word in words(text, truncate, direction)), of_word(""))
    return total / numpy.linalg.norm(total)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        truncate, direction = bool(asked.get("truncate")), asked.get("truncation_direction") or "Right"
        try:
            if self.path == "/embed":
                inputs = asked["inputs"]
                texts = [inputs] if isinstance(inputs, str) else inputs
                self.answer(200, [embedding(text, truncate, direction).tolist() for text in texts])
            elif self.path == "/rerank":
                query = embedding(asked["query"], truncate, direction)
                scores = [float(query @ embedding(text, truncate, direction)) for text in asked["texts"]]
                ranked = sorted(enumerate(scores), key=lambda pair: -pair[1])
                self.answer(200, [{"index": index, "score": score} for index, score in ranked])
            else:
                self.answer(404, {"error": "not found", "error_type": "NotFound"})
        except TooLong as error:
            self.answer(413, {"error": str(error), "error_type": "Validation"})

    def answer(self, status: int, body: object) -> None:
        encoded = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
