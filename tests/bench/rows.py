"""Rows with a field of each type that filters know, all derived from what is known of Debian's packages.

Where the data set is not there, packages are made up: the same fields, from a seed.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
from pymilvus import DataType, MilvusClient

Row = dict[str, Any]

CAPACITY = 16
INDEXES = {
    "part": "BITMAP", "installed": "STL_SORT", "small": "BITMAP", "words": "INVERTED", "ratio": "STL_SORT",
    "name": "INVERTED", "section": "BITMAP", "everywhere": "BITMAP", "tags": "INVERTED", "numbers": "INVERTED",
}  # fmt: skip
# Paths in JSON, and a dynamic key, with the type that their index casts to.
PATHS = (("about", 'about["size"]', "DOUBLE"), ("about", 'about["maintainer"]["name"]', "VARCHAR"), ("kilo", "kilo", "DOUBLE"))
# Fields that the collection gets after its first rows, with their default values.
LATE = {"late": None, "later": 5}


def packages(data: Path, rows: int) -> list[Row]:
    """What the data set says of each package; or packages made up."""
    path = data / "scalars.parquet"
    if not path.exists():
        return made(rows)
    table = parquet.read_table(path)
    return table.slice(0, rows).to_pylist()


def made(rows: int) -> list[Row]:
    rng = random.Random(63)
    words = [a + b for a in ("ka", "lo", "mi", "té", "zu") for b in ("be", "ck", "do", "n5", "r_x")]

    def package() -> Row:
        parts, size = rng.choices(words, k=rng.randint(1, 4)), int(10 ** rng.uniform(3, 9))
        return {
            "name": "-".join(parts), "description": " ".join(rng.choices([*words, "100%", '"kite"', "(red)"], k=rng.randint(1, 9))),
            "section": rng.choice(words), "priority": rng.choice(["optional"] * 9 + ["required"]), "installed_size": size // rng.randint(300, 2_000),
            "size": size, "maintainer": f"{rng.choice(words)} Team <{rng.choice(words)}@example.org>", "version": f"{rng.randint(0, 9)}.{rng.randint(0, 40)}-{rng.randint(1, 5)}",
            "architecture": rng.choice(["all", "amd64"]), "part": rng.randrange(100),
        }  # fmt: skip

    return [package() for _ in range(rows)]


def row(package: Row) -> Row:
    """The fields of a package, without its key and vector. None is null; dynamic keys that are not there are missing."""
    name, text, version, part = package["name"], package["description"] or "", package["version"], package["part"]
    installed, size = package["installed_size"] or 0, package["size"]
    words, numbers = text.split(), [int(found[:15]) for found in re.findall(r"\d+", version)][:CAPACITY]
    team = "team" in package["maintainer"].lower()
    fields = {
        "part": part,
        "installed": installed,
        "size": None if len(name) % 7 == 0 else size,
        "delta": installed - size // 1024,
        "small": min(len(name), 120) - 20,
        "words": None if "(" in text else len(words),
        "ratio": size / (1024 * installed) if installed else 0.0,
        # As the database keeps it, in single precision.
        "weight": None if part % 10 == 3 else float(np.float32(installed / 10)),
        "name": name,
        "section": None if part % 8 == 5 else package["section"],
        "summary": text,
        "everywhere": package["architecture"] == "all",
        "team": None if part % 4 == 1 else team,
        "tags": name.split("-")[:CAPACITY],
        "numbers": numbers if "-" in version else None,
        "lengths": [len(word) for word in words[:CAPACITY]],
        "shares": None if part % 6 == 2 else [size / 1e6, part / 8][: len(name) % 3],
        "flags": [team, package["architecture"] == "all", package["priority"] == "optional"][: part % 4],
        "about": None if len(text) % 9 == 0 else about(package, numbers, team),
        "arch": package["architecture"],
        "odd": [part, part / 4, name[:2], part % 2 == 0, None, [part, name[:1]], {"part": part}][len(text) % 7],
    }
    if part % 2:
        fields["kilo"] = size // 1024 if part % 3 else size / 1024
    return fields


def about(package: Row, numbers: list[int], team: bool) -> Row:
    """A JSON value whose members differ in type from row to row, and are sometimes missing."""
    part, size, version = package["part"], package["size"], package["version"]
    found: Row = {
        "maintainer": {"name": package["maintainer"].split(" <")[0], "team": team},
        "tags": package["name"].split("-"),
        "version": {"text": version, "numbers": numbers},
        "maybe": [None, {}, [], "yes", [None, {}], 0][part % 6],
        "pairs": [[part % 5, "a"], [part % 3, 1.5]][: part % 3],
        "mixed": [part % 7, part % 7 + 0.5, package["section"], part % 2 == 0, None][: part % 6],
    }
    if part % 5 != 4:
        found["size"] = (size, size / 8, str(size), size)[part % 4]
    if ":" in version:
        found["version"]["epoch"] = int(version.split(":")[0])
    return found


def create(client: MilvusClient, name: str, dim: int) -> None:
    """An empty collection of them, loaded, with an exact index of vectors and indexes of some other fields."""
    schema = client.create_schema(auto_id=False, enable_dynamic_field=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
    schema.add_field("part", DataType.INT32)
    schema.add_field("installed", DataType.INT64)
    schema.add_field("size", DataType.INT64, nullable=True)
    schema.add_field("delta", DataType.INT64)
    schema.add_field("small", DataType.INT8)
    schema.add_field("words", DataType.INT16, nullable=True)
    schema.add_field("ratio", DataType.DOUBLE)
    schema.add_field("weight", DataType.FLOAT, nullable=True)
    schema.add_field("name", DataType.VARCHAR, max_length=256)
    schema.add_field("section", DataType.VARCHAR, max_length=256, nullable=True)
    schema.add_field("summary", DataType.VARCHAR, max_length=4096)
    schema.add_field("everywhere", DataType.BOOL)
    schema.add_field("team", DataType.BOOL, nullable=True)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=CAPACITY, max_length=256)
    schema.add_field("numbers", DataType.ARRAY, element_type=DataType.INT64, max_capacity=CAPACITY, nullable=True)
    schema.add_field("lengths", DataType.ARRAY, element_type=DataType.INT16, max_capacity=CAPACITY)
    schema.add_field("shares", DataType.ARRAY, element_type=DataType.DOUBLE, max_capacity=CAPACITY, nullable=True)
    schema.add_field("flags", DataType.ARRAY, element_type=DataType.BOOL, max_capacity=CAPACITY)
    schema.add_field("about", DataType.JSON, nullable=True)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="IP")
    for field, kind in INDEXES.items():
        index.add_index(field, index_type=kind)
    index.add_index("summary", index_type="NGRAM", params={"min_gram": 2, "max_gram": 3})
    for at, (field, path, cast) in enumerate(PATHS):
        index.add_index(field, index_name=f"path_{at}", index_type="INVERTED", params={"json_path": path, "json_cast_type": cast})
    # Compaction would make one segment of several.
    client.create_collection(name, schema=schema, index_params=index, properties={"collection.autocompaction.enabled": "false"})


def add_late(client: MilvusClient, name: str) -> None:
    """The fields that are added when there are rows already."""
    for field, default in LATE.items():
        client.add_collection_field(name, field, DataType.INT64, nullable=True, **({} if default is None else {"default_value": default}))


class Rows:
    """All rows that a collection must hold, as columns, in the order of their places."""

    def __init__(self, data: Path, rows: int, dim: int) -> None:
        self.vectors = np.array(np.load(data / "vectors.npy", mmap_mode="r")[:rows, :dim])
        self.all = [row(package) for package in packages(data, len(self.vectors))]
        self.alive = np.zeros(len(self.all), bool)
        for one in self.all:
            one |= LATE

    def sent(self, place: int, with_late: bool) -> Row:
        """What a client writes for a row. With late fields it gives them values, which the row keeps."""
        fields = dict(self.all[place])
        for field in LATE:
            fields.pop(field)
        if with_late and place % 3:
            fields["late"] = place % 1_000
        if with_late and place % 3 == 1:
            fields["later"] = place % 10
        self.all[place] = {**fields, **{field: fields.get(field, default) for field, default in LATE.items()}}
        return {"id": place, "vector": self.vectors[place], **fields}

    def replace(self, place: int, by: int) -> None:
        """Makes another row of it, with the fields and the vector of a second one."""
        self.all[place] = {**self.all[by], **LATE}
        self.vectors[place] = self.vectors[by]

    def column(self, field: str) -> list[Any]:
        """Values of a field of the schema, None for null."""
        if field == "id":
            return list(range(len(self.all)))
        return [one[field] for one in self.all]

    def json(self, field: str) -> list[Any]:
        """Values of a JSON field as whole trees, as they come back from their texts; None for null."""
        if field == "$meta":
            return [json.loads(json.dumps({key: one[key] for key in ("arch", "odd", "kilo") if key in one})) for one in self.all]
        return [None if one[field] is None else json.loads(json.dumps(one[field])) for one in self.all]
