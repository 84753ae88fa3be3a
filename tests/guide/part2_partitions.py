"""Part 2, chapter 7.1: partitions (cases 62 to 76)."""

from __future__ import annotations

import zlib
from typing import Any

from pymilvus import Collection, Partition, utility
from pymilvus.client.types import LoadState
from pymilvus.exceptions import PartitionAlreadyExistException

import fixtures as of
from harness import Server, case, equal, fails, holds, until

# All lists are read, so that nothing is missing.
ALL = {"metric_type": "L2", "params": {"nprobe": 16}}
QUERY = of.DOCUMENTS[10].tolist()


def found(target: Collection, *names: str, limit: int = 4000) -> list[int]:
    """All keys that a search finds in these partitions, or in all."""
    return sorted(of.ids(of.search(target, QUERY, limit, ALL, partition_names=list(names) or None)))


def years(*numbers: int) -> list[int]:
    """The keys of the partitions of these years."""
    first = {2024: 1000, 2023: 2000, 2022: 3000}
    return sorted(key for year in numbers if year != 2022 for key in range(first[year], first[year] + 1000))


def states(target: Collection) -> dict[int, LoadState]:
    return {year: utility.load_state(target.name, partition_names=[f"year_{year}"]) for year in (2024, 2023, 2022)}


def loaded(*numbers: int) -> dict[int, LoadState]:
    return {year: LoadState.Loaded if year in numbers else LoadState.NotLoad for year in (2024, 2023, 2022)}


def own_parts(server: Server) -> Collection:
    """PART, not loaded, for a case that changes it."""
    server.connect()
    return of.make_parts(of.unique("parts"))


@case
def case_2_062_partitions_are_listed_and_counted(server: Server) -> None:
    target = of.parts(server)
    names = {"_default", "year_2024", "year_2023", "year_2022"}
    equal({part.name for part in target.partitions}, names, "the partitions")
    equal([Partition(target, f"year_{year}").num_entities for year in (2024, 2023, 2022)], [1000, 1000, 0], "the rows of each")
    equal(target.num_entities, 2000, "the rows")


@case
def case_2_063_a_search_reads_the_partitions_that_it_names(server: Server) -> None:
    target = of.parts(server)
    equal(len(found(target, "year_2024", limit=500)), 500, "the hits")
    holds(set(found(target, "year_2024", limit=500)) <= set(years(2024)), "all hits are of the year")
    equal(found(target, "year_2024"), years(2024))
    equal(found(target, "year_2024", "year_2023"), years(2024, 2023))
    equal(found(target), years(2024, 2023))


@case
def case_2_064_a_partition_is_as_good_as_a_filter(server: Server) -> None:
    target = of.parts(server)
    named = target.search([QUERY], "embedding", ALL, 50, partition_names=["year_2024"])[0]
    filtered = target.search([QUERY], "embedding", ALL, 50, expr="id >= 1000 and id < 2000")[0]
    equal((of.ids(named), of.distances(named)), (of.ids(filtered), of.distances(filtered)))
    equal(of.ids(named), [1000 + row for row in of.nearest(of.DOCUMENTS[:1000], QUERY, 50)])


@case
def case_2_065_a_partition_is_made_once(server: Server) -> None:
    target = own_parts(server)
    with fails("Partition already exist.", kind=PartitionAlreadyExistException):
        target.create_partition("year_2024")
    equal(target.has_partition("auto"), False, "whether it is there")
    equal(Partition(target, "auto").name, "auto", "the name")
    equal([target.has_partition(name) for name in ("auto", "year_2024", "nope")], [True, True, False], "whether they are there")


@case
def case_2_066_names_of_partitions_have_rules(server: Server) -> None:
    """`a-b` is accepted: the rule allows a hyphen within a name (wire-api 2.20), the guide's line does not."""
    server.connect()
    target = of.collection(of.unique("named"), of.document_fields())
    good = ["month_2024_01", "hash_000", "_x", "x" * 255, "a-b"]
    for name in good:
        target.create_partition(name)
    equal({part.name for part in target.partitions}, {"_default", *good}, "the partitions")
    for name in ("cat_电子产品", "a b", "x" * 256, "+a"):
        with fails("Invalid partition name"):
            target.create_partition(name)
    with fails("Partition name should not be empty"):
        server.client().create_partition(target.name, "")


@case
def case_2_067_one_partition_is_loaded_alone(server: Server) -> None:
    target = own_parts(server)
    Partition(target, "year_2024").load()
    equal(states(target), loaded(2024), "what is loaded")
    equal(found(target), years(2024))
    for names in (["year_2023"], ["year_2024", "year_2023"]):
        with fails("partition not loaded"):
            found(target, *names)


@case
def case_2_068_partitions_are_loaded_and_released_one_by_one(server: Server) -> None:
    target = own_parts(server)
    Partition(target, "year_2024").load()
    Partition(target, "year_2023").load()
    # That they are at once is what case 70 asks for.
    until("both are searchable", 10, lambda: found(target, "year_2024", "year_2023") == years(2024, 2023))
    target.load()
    equal(states(target), loaded(2024, 2023, 2022), "what is loaded")
    equal(found(target, "year_2022"), [])
    for _ in range(2):
        Partition(target, "year_2024").release()
        with fails("partition not loaded"):
            found(target, "year_2024")
        equal(found(target, "year_2023"), years(2023))
        equal(found(target), years(2023))


@case
def case_2_069_a_released_partition_takes_no_memory(server: Server) -> None:
    """Cut from a gigabyte to 3,000 rows: what the server says it has loaded, instead of what its process takes."""
    target = own_parts(server)
    target.load()

    def rows() -> int:
        return sum(segment.num_rows for segment in utility.get_query_segment_info(target.name))

    before = of.memory_of(target.name)
    equal(rows(), 2000, "the rows in memory")
    Partition(target, "year_2024").release()
    until("a partition's rows are gone from memory", 20, lambda: rows() == 1000)
    left = of.memory_of(target.name)
    holds(0 < left < before * 0.6, f"half of {before} bytes is gone, {left} are left")


@case
def case_2_070_hot_and_cold_partitions_change_places(server: Server) -> None:
    target = own_parts(server)
    part = {year: Partition(target, f"year_{year}") for year in (2024, 2023, 2022)}
    for turn in range(20):
        part[2024].load()
        part[2023].load()
        equal(states(target), loaded(2024, 2023), f"what is loaded, turn {turn}")
        equal(len(found(target, "year_2024", "year_2023")), 2000, "the hits")
        part[2023].release()
        part[2022].load()
        equal(states(target), loaded(2024, 2022), f"what is loaded, turn {turn}")
        for year in part.values():
            year.release()
        equal(states(target), loaded(), f"what is loaded, turn {turn}")
    equal(utility.load_state(target.name), LoadState.NotLoad, "the collection's state")


@case
def case_2_071_a_partition_is_dropped_after_its_release(server: Server) -> None:
    target = own_parts(server)
    target.load()
    with fails("partition is loaded, please release it first"):
        target.drop_partition("year_2024")
    Partition(target, "year_2024").release()
    target.drop_partition("year_2024")
    equal((target.has_partition("year_2024"), target.num_entities), (False, 1000), "whether it is there, and the rows")
    equal(found(target, "year_2023"), years(2023))
    equal(Partition(target, "year_2024").num_entities, 0, "the rows of a new one of that name")
    Partition(target, "year_2024").load()
    equal(found(target, "year_2024"), [])


@case
def case_2_072_the_default_partition_stays_and_what_is_dropped_goes(server: Server) -> None:
    target = own_parts(server)
    with fails("default partition cannot be deleted"):
        target.drop_partition("_default")
    server.client().drop_partition(target.name, "absent")
    equal(target.has_partition("_default"), True, "whether the default partition is there")
    with server.another() as own:
        target = own_parts(own)

        def stored() -> int:
            """The bytes of sealed rows."""
            return sum(file.stat().st_size for file in (own.folder / "data/blobs").rglob("*.parquet") if file.is_file())

        before = stored()
        holds(before > 0, "rows are sealed")
        target.drop_partition("year_2024")
        until("half of the objects are gone", 60, lambda: 0 < stored() < before * 0.6)


@case
def case_2_073_unknown_partitions_are_named_in_the_error(server: Server) -> None:
    target = of.parts(server)
    with fails("partition not found[partition=zzz]", 200):
        target.insert(of.document_rows(of.DOCUMENTS[:1], 9000), partition_name="zzz")
    with fails("zzz not found"):
        found(target, "zzz")


@case
def case_2_074_a_hundred_partitions_find_what_one_finds(server: Server) -> None:
    """10,000 rows, cut to 5,000; the hash is one that is the same in every process, as Python's own is not."""
    server.connect()
    vectors = of.clustered_vectors(5000, 32)
    fields = of.document_fields(dim=32)
    split, whole = of.collection(of.unique("split"), fields), of.collection(of.unique("whole"), fields)
    parts: dict[str, list[dict[str, Any]]] = {f"hash_{number:03}": [] for number in range(100)}
    for row, vector in enumerate(vectors):
        bucket = f"hash_{zlib.crc32(str(row).encode()) % 100:03}"
        parts[bucket].append({"id": row, "title": f"文档{row}", "embedding": vector})
    for name, rows in parts.items():
        target = Partition(split, name)
        if rows:
            target.insert(rows)
    whole.insert(of.document_rows(vectors))
    for target in (split, whole):
        target.flush()
        target.create_index("embedding", of.index("FLAT", "L2"))
        target.load()
    counts = {name: Partition(split, name).num_entities for name in parts}
    equal(counts, {name: len(rows) for name, rows in parts.items()}, "the rows of each")
    queries = (vectors[::500] + 0.01).tolist()
    answers = [[(of.ids(hits), of.distances(hits)) for hits in target.search(queries, "embedding", of.FLAT, 20)] for target in (split, whole)]
    equal(answers[0], answers[1], "what a hundred partitions find")


@case
def case_2_075_a_delete_stays_within_its_partition(server: Server) -> None:
    target = own_parts(server)
    target.load()
    target.delete("id in [1000]", partition_name="year_2023")
    equal(of.keys(target, "id in [1000]"), [1000])
    target.delete("id in [1000]")
    equal(of.keys(target, "id in [1000]"), [])
    equal(of.count(target), 1999, "the rows")


@case
def case_2_076_the_other_client_has_the_same_partitions(server: Server) -> None:
    server.connect()
    client, name = server.client(), of.unique("parts")
    target = of.collection(name, of.document_fields())
    client.create_partition(name, "year_2024")
    client.create_partition(name, "year_2023")
    equal(set(client.list_partitions(name)), {"_default", "year_2024", "year_2023"}, "the partitions")
    equal([client.has_partition(name, part) for part in ("year_2024", "nope")], [True, False], "whether they are there")
    rows = [{"id": 1000 + row, "title": f"文档{row}", "embedding": of.DOCUMENTS[row]} for row in range(1000)]
    client.insert(name, rows, partition_name="year_2024")
    client.flush(name)
    equal(int(client.get_partition_stats(name, "year_2024")["row_count"]), 1000, "the rows")
    target.create_index("embedding", of.index("FLAT", "L2"))
    client.load_partitions(name, ["year_2024"])
    given = {"data": [QUERY], "limit": 2000, "search_params": of.FLAT}
    equal(sorted(hit["id"] for hit in client.search(name, **given)[0]), years(2024))
    with fails("partition not loaded"):
        client.search(name, partition_names=["year_2023"], **given)
    with fails("partition is loaded, please release it first"):
        client.drop_partition(name, "year_2024")
    client.release_partitions(name, ["year_2024"])
    client.drop_partition(name, "year_2024")
    equal(set(client.list_partitions(name)), {"_default", "year_2023"}, "the partitions")
