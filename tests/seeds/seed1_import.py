"""Document 1: bulk import of files in batches, with workers, retries, and a checkpoint from which it is resumed."""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
from harness import Server, case, equal, fails, holds, until
from importer import Importer, make
from kills import TwoKills
from pymilvus import Collection, MilvusException
from pymilvus.exceptions import DataNotMatchException
from tables import ALL_ROWS, Row, nearest, same_hits, same_rows, unique
from words import model, texts

SCRIPT = pathlib.Path(__file__).parent / "importer.py"
ROWS = 600


@functools.cache
def rows() -> list[Row]:
    """What the files have: texts with quotes, commas and line ends in them."""
    made = [{"id": key, "text": text.whole, "category": text.category} for key, text in enumerate(texts()[:ROWS])]
    holds(all(any(sign in row["text"] for row in made) for sign in ('"', ",", "\n")), "the texts are no easy ones")
    return made


def expected() -> list[Row]:
    return [{**row, "embedding": vector} for row, vector in zip(rows(), model().encode([row["text"] for row in rows()]))]


@contextlib.contextmanager
def filling(server: Server, how: str = "insert") -> Iterator[tuple[Importer, pathlib.Path]]:
    """An importer into an empty collection, and a folder for its files; after the block every row is there, once."""
    server.connect()
    collection = make(unique("documents"))
    folder = server.folder / collection.name
    folder.mkdir()
    try:
        yield Importer(collection, model(), how), folder
        complete(collection)
    finally:
        collection.drop()


def complete(collection: Collection) -> None:
    collection.load()
    same_rows(collection.query("id >= 0", output_fields=["*"], limit=ALL_ROWS), expected())
    equal(collection.query("", output_fields=["count(*)"])[0]["count(*)"], ROWS, "count(*)")


def csv(folder: pathlib.Path) -> pathlib.Path:
    pd.DataFrame(rows()).to_csv(folder / "sample.csv", index=False)
    return folder / "sample.csv"


@case
def case_1_001_four_workers_import_a_csv_file_whole(server: Server) -> None:
    with filling(server) as (importer, folder):
        equal(importer.load(csv(folder), 50, workers=4), ROWS, "rows imported")
        equal(importer.collection.num_entities, ROWS, "num_entities")


@case
def case_1_002_a_json_file_is_imported_whole(server: Server) -> None:
    with filling(server) as (importer, folder):
        path = folder / "sample.json"
        path.write_text(json.dumps(rows(), ensure_ascii=False, indent=2))
        equal(importer.load(path, 100), ROWS, "rows imported")
        equal(importer.collection.num_entities, ROWS, "num_entities")


@case
def case_1_003_a_parquet_file_is_imported_whole(server: Server) -> None:
    with filling(server) as (importer, folder):
        path = folder / "sample.parquet"
        pd.DataFrame(rows()).to_parquet(path)
        equal(importer.load(path, 100, workers=2), ROWS, "rows imported")


@case
def case_1_004_batches_of_any_size_make_the_same_table(server: Server) -> None:
    for size, flush_each in ((7, False), (100, True), (ROWS, False)):
        with filling(server) as (importer, folder):
            equal(importer.load(csv(folder), size, flush_each=flush_each), ROWS, f"rows imported in batches of {size}")
            equal(importer.collection.num_entities, ROWS, "num_entities")


@case
def case_1_005_what_was_imported_is_found_by_what_it_means(server: Server) -> None:
    with filling(server) as (importer, folder):
        importer.load(csv(folder), 100)
        importer.collection.load()
        vectors = {row["id"]: row["embedding"] for row in expected()}
        for question in ("parse command line arguments", "make a temporary file", "random choice from a sequence"):
            point = model().encode([question])[0]
            hits = importer.collection.search([point], "embedding", {"metric_type": "L2", "params": {"nprobe": 128}}, 20)[0]
            same_hits([(hit.id, hit.distance) for hit in hits], nearest(vectors, point, 20), f"the hits of {question!r}")


def importing(server: Server, importer: Importer, path: pathlib.Path, size: int, *death: str) -> subprocess.Popen[str]:
    """The same import as a process of its own."""
    kept = path.with_name("vectors.npz")
    if not kept.exists():
        model().encode([row["text"] for row in rows()])
        model().keep(kept)
    arguments = [server.uri, importer.collection.name, path, path.with_name("checkpoint.json"), size, importer.how, kept, *death]
    return subprocess.Popen([sys.executable, "-W", "ignore", SCRIPT, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> tuple[int, list[int]]:
    """How it ended, and which batches it says to have written."""
    try:
        said, _ = process.communicate(timeout=300)
    except BaseException:
        process.kill()
        raise
    return process.returncode, json.loads(said or "[]")


def killed_and_resumed(server: Server, how: str) -> None:
    """An import that is killed at each place where it matters, and goes on each time."""
    with filling(server, how) as (importer, folder):
        path = csv(folder)
        for death in ("1:insert", "1:checkpoint", "3:after"):
            equal(outcome(importing(server, importer, path, 100, death)), (-signal.SIGKILL, []), f"the import that dies at {death}")
        equal(outcome(importing(server, importer, path, 100)), (0, [4, 5]), "the import that ends")
        equal((folder / "checkpoint.json").exists(), False, "a checkpoint is left")


@case
def case_1_006_an_import_by_upserts_that_is_killed_and_resumed_loses_and_doubles_no_row(server: Server) -> None:
    killed_and_resumed(server, "upsert")


@case
def case_1_007_an_import_by_inserts_with_names_that_is_killed_and_resumed_loses_and_doubles_no_row(server: Server) -> None:
    killed_and_resumed(server, "named")


@case
def case_1_008_an_import_by_plain_inserts_doubles_the_batch_whose_checkpoint_was_lost(server: Server) -> None:
    """The document's own way. A batch that was written and not noted is written again, as with Milvus: an insert asks for no key. An upsert
    of the batch makes that good."""
    with filling(server) as (importer, folder):
        path = csv(folder)
        equal(outcome(importing(server, importer, path, 100, "1:checkpoint")), (-signal.SIGKILL, []))
        equal(outcome(importing(server, importer, path, 100)), (0, [1, 2, 3, 4, 5]))
        equal(importer.collection.num_entities, ROWS + 100, "rows that are stored")
        again = Importer(importer.collection, model(), "upsert")
        equal(again.batch(pd.DataFrame(rows()[100:200])), 100)


@case
def case_1_009_an_import_that_is_killed_at_any_moment_is_resumed_whole(server: Server) -> None:
    with filling(server, "upsert") as (importer, folder):
        path, checkpoint, noted = csv(folder), folder / "checkpoint.json", -1
        for _ in range(2):
            process = importing(server, importer, path, 10)
            before = noted

            def further() -> bool:
                return process.poll() is not None or json.loads(checkpoint.read_text())["last_batch"] > before + 4

            until("the import gets on", 120, further)
            process.kill()
            holds(outcome(process) == (-signal.SIGKILL, []), "the import was killed amid")
            noted = json.loads(checkpoint.read_text())["last_batch"]
        equal(outcome(importing(server, importer, path, 10)), (0, list(range(noted + 1, 60))))


@case
def case_1_010_an_import_goes_on_when_the_server_was_killed(server: Server) -> None:
    with server.another() as mortal:
        for how in ("upsert", "named"):
            with filling(mortal, how) as (importer, folder), ThreadPoolExecutor(1) as pool:
                kills = TwoKills()

                def reached(batch: int, place: str) -> None:
                    if (batch, place) == (5, "insert"):
                        kills.amid()
                    elif (batch, place) == (20, "insert"):
                        kills.before()

                running = pool.submit(importer.resume, csv(folder), folder / "checkpoint.json", 20, reached)
                kills.of(mortal)
                equal(running.result(), list(range(30)), f"batches written by {how}")


@case
def case_1_011_a_file_that_is_wrong_writes_nothing(server: Server) -> None:
    with filling(server) as (importer, folder):
        good = pd.DataFrame(rows())
        wrong = {
            "缺少必需字段: category": good.drop(columns="category"),
            "id 字段必须是整数类型": good.assign(id=good["id"] + 0.5),
            "存在重复的 ID": pd.concat([good, good.iloc[:1]]),
        }
        for message, frame in wrong.items():
            frame.to_csv(folder / "wrong.csv", index=False)
            with fails(message, kind=ValueError):
                importer.load(folder / "wrong.csv", 100)
        equal(importer.collection.num_entities, 0, "rows of wrong files")
        importer.load(csv(folder), 200)


@case
def case_1_012_a_batch_with_a_wrong_row_is_refused_whole(server: Server) -> None:
    with filling(server) as (importer, folder):
        data = [{**row, "embedding": vector} for row, vector in zip(rows()[:50], model().encode([row["text"] for row in rows()[:50]]))]
        wrong = {
            "embedding": data[49]["embedding"][:100],
            "text": "x" * 2001,
            "category": None,
        }
        for field, value in wrong.items():
            with fails(kind=(MilvusException, DataNotMatchException)):
                importer.collection.insert([*data[:49], {**data[49], field: value}])
        with fails(kind=(MilvusException, DataNotMatchException)):
            importer.collection.insert([{name: value for name, value in row.items() if name != "text"} for row in data])
        importer.collection.flush()
        equal(importer.collection.num_entities, 0, "rows of batches that were refused")
        importer.load(csv(folder), 300)
