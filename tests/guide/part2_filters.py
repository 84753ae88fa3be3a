"""Part 2, chapters 6.3 and 6.4: filters (cases 31 to 47). Searches and queries have to agree on every one."""

from __future__ import annotations

from pymilvus import Collection
from pymilvus.exceptions import MilvusException

import fixtures as of
from harness import Server, case, equal, fails, holds

# What is counted in cases 31 to 33; each is one filter and the number of its rows.
COUNTED: dict[str, int] = {
    "price > 100": 89,
    "price >= 100": 90,
    "price < 500": 50,
    "price <= 500": 51,
    "price == 99.99": 0,
    "price != 99.99": 100,
    "price == 100": 1,
}
LOGIC: dict[str, int] = {
    "price > 100 and price < 500": 39,
    'category == "电子" or category == "图书"': 34,
    "not (price > 900)": 91,
    '(price > 100 and price < 500) or category == "特价"': 49,
    "price > 100 && price < 500": 39,
    'category == "电子" || category == "图书"': 34,
    "!(price > 900)": 91,
    '(price > 100 && price < 500) || category == "特价"': 49,
}
MEMBERS: dict[str, int] = {
    'category in ["电子","图书","服装"]': 51,
    'category not in ["食品","玩具"]': 83,
    "id in [1,2,3,4,5]": 5,
    "id in []": 0,
}
TITLES: dict[str, int] = {
    'title like "手机%"': 25,
    'title like "%Pro"': 17,
    'title like "%iPhone%"': 15,
    'title like "%Pro%" or title like "%iPhone%"': 32,
}
BRANCHES = """
    (category == "电子" and price >= {low} and price <= {high})
    or (category == "图书" and price >= 50 and rating >= 4.5)
    or (category == "服装" and discount > 0.5)
"""
KEYS: dict[str, list[int]] = {
    'title like "A_"': [1, 2, 3, 6, 9],
    "id % 10 == 0": list(range(0, 100, 10)),
    "id * 2 == 8": [4],
    "id / 3 == 1": [3, 4, 5],
    "id == 2 + 1": [3],
    "price * 2 > 1900": [96, 97, 98, 99],
    BRANCHES.format(low=1000, high=5000): [8, 26, 38, 49, 56, 68, 86, 97, 98],
    'category == "电子产品" and price >= 100 and price <= 1000 and rating >= 4.0 and stock > 0': [41, 47, 95],
    "timestamp >= 1700000010 and timestamp <= 1700000020": list(range(10, 21)),
}
COUNTS: dict[str, int] = {
    "100 <= price <= 500": 41,
    "100 < price < 500": 39,
    BRANCHES.format(low=100, high=500): 16,
    'not (category == "电子" or category == "图书") and (price > 100 or discount > 0.5) and rating >= 4.0': 12,
    "rating >= 4.0 and stock > 0": 13,
}


def rows(target: Collection, expr: str) -> list[int]:
    """The keys for which `expr` is true, by a query; a search says the same, and so does the other client."""
    queried = of.keys(target, expr) if expr else sorted(row["id"] for row in target.query("", limit=100, output_fields=["id"]))
    equal(sorted(of.ids(of.search(target, [0.0] * 8, 100, of.FLAT, expr=expr))), queried, f"what a search finds by {expr!r}")
    other = of.again().query(target.name, expr, output_fields=["id"], limit=100)
    equal(sorted(row["id"] for row in other), queried, f"what MilvusClient queries by {expr!r}")
    return queried


def counted(target: Collection, wanted: dict[str, int]) -> None:
    equal({expr: len(rows(target, expr)) for expr in wanted}, wanted, "the rows of each")


def found(target: Collection, *wanted: str) -> None:
    equal({expr: rows(target, expr) for expr in wanted}, {expr: KEYS[expr] for expr in wanted}, "the keys of each")


@case
def case_2_031_comparisons_find_exactly_their_rows(server: Server) -> None:
    counted(of.products(server), COUNTED)


@case
def case_2_032_words_and_signs_of_logic_are_the_same(server: Server) -> None:
    target = of.products(server)
    counted(target, LOGIC)
    words, signs = list(LOGIC)[:4], list(LOGIC)[4:]
    equal([rows(target, expr) for expr in signs], [rows(target, expr) for expr in words], "the keys by signs")


@case
def case_2_033_lists_have_members(server: Server) -> None:
    counted(of.products(server), MEMBERS)


@case
def case_2_034_patterns_match_at_the_beginning_the_end_and_in_the_middle(server: Server) -> None:
    counted(of.products(server), TITLES)
    found(of.products(server), 'title like "A_"')


@case
def case_2_035_numbers_are_calculated_with(server: Server) -> None:
    found(of.products(server), "id % 10 == 0", "id * 2 == 8", "id / 3 == 1", "id == 2 + 1", "price * 2 > 1900")


@case
def case_2_036_comparisons_are_chained(server: Server) -> None:
    counted(of.products(server), {expr: COUNTS[expr] for expr in ("100 <= price <= 500", "100 < price < 500")})


@case
def case_2_037_filters_have_several_lines(server: Server) -> None:
    found(of.products(server), BRANCHES.format(low=1000, high=5000))
    counted(of.products(server), {BRANCHES.format(low=100, high=500): 16})


@case
def case_2_038_brackets_bind_as_they_are_set(server: Server) -> None:
    counted(of.products(server), {expr: number for expr, number in COUNTS.items() if expr.startswith("not (")})


@case
def case_2_039_five_conditions_hold_together(server: Server) -> None:
    found(of.products(server), 'category == "电子产品" and price >= 100 and price <= 1000 and rating >= 4.0 and stock > 0')


@case
def case_2_040_the_same_said_in_another_way_finds_the_same(server: Server) -> None:
    target = of.products(server)
    chain = 'category == "电子" or category == "图书" or category == "服装" or category == "食品"'
    pairs = [
        ('category == "电子产品" and price > 800', 'price > 800 and category == "电子产品"'),
        ("price > 500", "500 < price"),
        (chain, 'category in ["电子", "图书", "服装", "食品"]'),
        ("not (price > 500)", "price <= 500"),
    ]
    for one, other in pairs:
        equal(rows(target, one), rows(target, other), f"the keys by {one!r}")
    equal(len(rows(target, chain)), 68, "the rows of four categories")


@case
def case_2_041_numbers_of_all_kinds_are_compared(server: Server) -> None:
    counted(of.products(server), {"rating >= 4.0 and stock > 0": 13})
    found(of.products(server), "timestamp >= 1700000010 and timestamp <= 1700000020")


@case
def case_2_042_errors_name_their_cause(server: Server) -> None:
    target = of.products(server)
    causes = {
        "nope == 1": "nope",
        'CATEGORY == "电子"': "CATEGORY",
        'price == "abc"': "comparisons between Float",
        'id in [1,"a"]': "cannot be casted to Int64",
        "price >": "price >",
        "embedding == 1": "FloatVector",
    }
    for expr, cause in causes.items():
        for read in (lambda expr=expr: target.query(expr), lambda expr=expr: target.search([[0.0] * 8], "embedding", of.FLAT, 10, expr=expr)):
            try:
                read()
            except MilvusException as error:
                message = str(error)
                holds("cannot parse expression" in message, f"{message} says that {expr} cannot be parsed")
                # The filter itself stands in the text; the cause has to stand there besides it.
                detail = message.partition("error:")[2]
                holds(cause in detail or (expr == "price >" and detail.strip()), f"{message} says that {cause}")
            else:
                raise AssertionError(f"{expr} was accepted")


@case
def case_2_043_texts_are_compared_as_they_are_and_no_filter_filters_nothing(server: Server) -> None:
    counted(of.products(server), {'category == "DIANZI"': 0, 'category == "电子"': 17, "category == '电子'": 17, "": 100})


def make_many(name: str) -> Collection:
    vectors = of.random_vectors(5000, 8, 4)
    index = of.index("HNSW", "L2", M=16, efConstruction=100)
    return of.filled(name, [of.key(), of.vector(8)], [list(range(5000)), vectors.tolist()], index)


@case
def case_2_044_a_filter_may_leave_nothing_or_one_row_of_many(server: Server) -> None:
    target = of.products(server)
    equal(list(target.search([[0.0] * 8], "embedding", of.FLAT, 10, expr="price > 5000")[0]), [], "the hits")
    many = of.once(server, "many", make_many)
    for row in (0, 1234, 4999):
        hits = many.search([[0.0] * 8], "embedding", {"metric_type": "L2", "params": {"ef": 16}}, 10, expr=f"id == {row}")[0]
        equal(of.ids(hits), [row], "the one row that the filter leaves")


@case
def case_2_045_indexes_of_columns_change_no_result(server: Server) -> None:
    server.connect()
    target = of.make_products(of.unique("indexed"))
    target.create_index("category", index_name="category_index")
    target.create_index("price", index_name="price_index")
    expressions = [*COUNTED, *LOGIC, *MEMBERS, *TITLES, *KEYS, *COUNTS]
    plain = {expr: rows(of.products(server), expr) for expr in expressions}
    equal({expr: rows(target, expr) for expr in expressions}, plain, "what is found by indexes")
    equal([target.has_index(index_name=name) for name in ("category_index", "category")], [True, False], "whether there are indexes")
    target.drop_index(index_name="category_index")
    target.drop_index(index_name="price_index")
    equal([target.has_index(index_name=name) for name in ("category_index", "price_index")], [False, False], "whether there are indexes")
    equal({expr: rows(target, expr) for expr in expressions}, plain, "what is found without indexes")


@case
def case_2_046_which_index_has_to_be_said_if_there_are_several(server: Server) -> None:
    """The guide's `AmbiguousIndexName` is the one of pymilvus 2.4 and before; it is told from other errors by its words."""
    server.connect()
    target = of.make_products(of.unique("several"))
    target.create_index("category", index_name="category_index")
    target.create_index("price", index_name="price_index")
    equal(sorted(index.index_name for index in target.indexes), ["category_index", "embedding", "price_index"], "the indexes")
    with fails("please specify the index_name"):
        target.has_index()


@case
def case_2_047_the_index_of_vectors_is_dropped_after_a_release(server: Server) -> None:
    """The guide's text is that of 2.3, `collection is loaded, please release it first`; wire-api 1.3 has the one of today."""
    server.connect()
    target = of.filled(of.unique("dropping"), [of.key(), of.vector(2)], [[1], [[0, 1]]])
    with fails("vector index cannot be dropped on loaded collection"):
        target.drop_index()
    target.release()
    target.drop_index()
    equal(target.has_index(), False, "whether there is an index")
    target.drop_index()
