"""Part 1, loading, partitions and copies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness import Server, case, equal, fails, until
from part1_schemas import FLAT, L2, STRONG, count, created, doc3, documents, ids, plain, ready, titles, uniform
from pymilvus import Collection, Partition, utility
from pymilvus.client.types import LoadState
from pymilvus.exceptions import ParamError

YEARS = ("2024", "2025", "2026")


@case
def case_1_075_loading_and_releasing_lose_nothing(server: Server) -> None:
    with documents(server, "load_cycle") as collection:
        collection.flush()
        before = [dict(row) for row in collection.query("id >= 0", output_fields=["*"], **STRONG)]
        equal(len(before), 1000)
        for _ in range(2):
            collection.load()
            equal(utility.load_state("load_cycle"), LoadState.Loaded)
            equal(utility.loading_progress("load_cycle"), {"loading_progress": "100%"})
        for _ in range(2):
            collection.release()
            equal(utility.load_state("load_cycle"), LoadState.NotLoad)
        collection.load()
        after = [dict(row) for row in collection.query("id >= 0", output_fields=["*"], **STRONG)]
        equal([str(row) for row in after], [str(row) for row in before])
    equal(utility.load_state("missing"), LoadState.NotExist)


@contextlib.contextmanager
def years(server: Server, name: str) -> Iterator[Collection]:
    """Partitions 2024, 2025 and 2026 with 100 rows each, whose ids begin with the year; indexed and not loaded."""
    with created(server, name, doc3()) as collection:
        for year in YEARS:
            numbers = range(1000 * int(year), 1000 * int(year) + 100)
            Partition(collection, year).insert([list(numbers), titles(numbers), uniform(100)])
        collection.flush()
        collection.create_index("embedding", FLAT)
        yield collection


def by_year(collection: Collection, **options: object) -> dict[int, int]:
    """How many of the hits are of which year."""
    found = collection.search(uniform(1), "embedding", L2, limit=1000, **{**STRONG, **options})[0].ids
    return {year: sum(each // 1000 == year for each in found) for year in sorted({each // 1000 for each in found})}


def states(collection: Collection) -> dict[str, LoadState]:
    return {each.name: utility.load_state(collection.name, [each.name]) for each in collection.partitions}


@case
def case_1_076_only_partitions_that_are_loaded_are_searched(server: Server) -> None:
    no, yes = LoadState.NotLoad, LoadState.Loaded
    with years(server, "by_years") as collection:
        equal({each.name for each in collection.partitions}, {"_default", *YEARS})
        Partition(collection, "2026").load()
        equal(by_year(collection), {2026: 100})
        equal(by_year(collection, partition_names=["2026"]), {2026: 100})
        with fails("partition not loaded", code=201):
            by_year(collection, partition_names=["2024"])
        collection.load(partition_names=["2025", "2026"])
        until("both partitions are searched", 10, lambda: by_year(collection) == {2025: 100, 2026: 100})  # at once: 1.76a
        equal(states(collection), {"_default": no, "2024": no, "2025": yes, "2026": yes})
        equal(utility.load_state("by_years"), LoadState.Loaded)
        for name in ("2026", "2024"):
            Partition(collection, name).release()
            equal(by_year(collection), {2025: 100})
        equal(states(collection), {"_default": no, "2024": no, "2025": yes, "2026": no})
        with fails("2030 not found"):
            by_year(collection, partition_names=["2030"])
        with fails("not found"):
            collection.load(partition_names=["2030"])
        equal(by_year(collection), {2025: 100})


@case
def case_1_076a_partitions_are_searched_as_soon_as_their_load_returns(server: Server) -> None:
    with years(server, "next_years") as collection:
        for _ in range(10):
            Partition(collection, "2026").load()
            equal(by_year(collection), {2026: 100})
            collection.load(partition_names=["2025", "2026"])
            equal(by_year(collection), {2025: 100, 2026: 100})
            collection.release()


@case
def case_1_076b_a_collection_is_searched_whole_as_soon_as_its_load_returns(server: Server) -> None:
    with years(server, "all_years") as collection:
        for _ in range(10):
            Partition(collection, "2026").load()
            equal(by_year(collection), {2026: 100})
            collection.load()
            equal(by_year(collection), {2024: 100, 2025: 100, 2026: 100})
            collection.release()


@case
def case_1_077_a_partition_that_is_loaded_is_not_dropped(server: Server) -> None:
    with years(server, "dropped_years") as collection:
        collection.load()
        equal(by_year(collection), {2024: 100, 2025: 100, 2026: 100})
        partition = Partition(collection, "2024")
        with fails("partition cannot be dropped, partition is loaded, please release it first"):
            partition.drop()
        equal(by_year(collection), {2024: 100, 2025: 100, 2026: 100})
        partition.release()
        partition.drop()
        equal({each.name for each in collection.partitions}, {"_default", "2025", "2026"})
        equal(by_year(collection), {2025: 100, 2026: 100})
        equal((count(collection), ids(collection, "id < 2025000")), (200, []))


@case
def case_1_078_the_state_of_partitions_is_asked_with_a_list(server: Server) -> None:
    with years(server, "asked_years") as collection:
        with fails("partition_name", kind=ParamError):
            utility.load_state(collection.name, "2026")
        equal(utility.load_state(collection.name, ["2026"]), LoadState.NotLoad)


@case
def case_1_080_two_copies_do_not_fit_on_one_node(server: Server) -> None:
    """The words of later versions (wire-api, 1.3); the guide's "nodes not enough" is of 2.3.5."""
    said = "when load 2 replica count: service resource insufficient"
    with created(server, "copies", plain(8)) as collection:
        collection.insert([list(range(10)), uniform(10, 8)])
        collection.create_index("embedding", FLAT)
        with fails(said):
            collection.load(replica_number=2)
        equal(utility.load_state("copies"), LoadState.NotLoad)
        collection.load(replica_number=1)
        with fails(said):
            collection.load(replica_number=2)
        equal(utility.load_state("copies"), LoadState.Loaded)
        groups = collection.get_replicas().groups
        equal([(len(each.group_nodes), len(each.shards), each.resource_group) for each in groups], [(1, 1, "__default_resource_group")])
        for shard in groups[0].shards:
            equal((bool(shard.channel_name), shard.shard_leader in shard.shard_nodes), (True, True))
        equal(count(collection), 10)


@case
def case_1_082_a_collection_says_how_many_copies_a_load_makes(server: Server) -> None:
    """On one node it is seen by what is refused."""
    with created(server, "own_copies", plain(8)) as collection:
        collection.create_index("embedding", FLAT)
        collection.set_properties({"collection.replica.number": 2})
        with fails("when load 2 replica count: service resource insufficient"):
            collection.load()
        collection.set_properties({"collection.replica.number": 1})
        ready(collection)
        equal(len(collection.get_replicas().groups), 1)
