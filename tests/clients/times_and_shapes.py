"""Instants with time zones and shapes: written and read by gRPC and REST, in filters with and without indexes, before and after
the engine was killed.

    times_and_shapes.py URI write      makes collections and looks at them
    times_and_shapes.py URI read       looks at them in another life of the engine
"""

from __future__ import annotations

import json
import logging
import sys
import urllib.request
from datetime import datetime, timedelta, timezone
from typing import Any, Callable
from zoneinfo import ZoneInfo

from pymilvus import DataType, MilvusClient

from suite import equal, told

TIMES, SHAPES = "times_held", "shapes_held"
ROWS = 400
START = datetime(2024, 2, 28, 22, 30, tzinfo=timezone.utc)
DEFAULT = "2025-01-01T00:00:00"
SHANGHAI = ZoneInfo("Asia/Shanghai")
SQUARE = "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))"


def post(uri: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(f"{uri}/v2/vectordb/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def rest(uri: str, path: str, body: dict[str, Any]) -> Any:
    answer = post(uri, path, body)
    equal(answer["code"], 0, f"{path}: {answer}")
    return answer["data"]


# ---------------------------------------------------------------- instants


def instant(key: int) -> datetime | None:
    """Every seventh row has none, every eleventh the default; some have microseconds."""
    if key % 7 == 3:
        return None
    if key % 11 == 5:
        return datetime.fromisoformat(DEFAULT).replace(tzinfo=SHANGHAI)
    return START + timedelta(hours=key, microseconds=key % 3 * 250_001)


def shown(moment: datetime | None, zone: Any = SHANGHAI) -> str | None:
    if moment is None:
        return None
    text = moment.astimezone(zone).isoformat()
    main, sign, offset = text.rpartition("+") if "+" in text[10:] else text.rpartition("-")
    if "." in main:
        main = main.rstrip("0")
    return f"{main}Z" if offset == "00:00" else f"{main}{sign}{offset}"


def sent_time(key: int) -> dict[str, Any]:
    row: dict[str, Any] = {"id": key, "vec": [float(key % 17), 1.0]}
    moment = instant(key)
    if moment is None:
        row["seen"] = None
    elif key % 11 != 5:
        # In some zone or other, or in none: then it is one of the collection's.
        zone = [SHANGHAI, timezone.utc, timezone(timedelta(hours=-5))][key % 3]
        text = moment.astimezone(zone).isoformat()
        row["made"] = text[: -len("+08:00")] if key % 3 == 0 else text
        row["seen"] = row["made"]
    if key % 11 == 5 and moment is not None:
        row["seen"] = "2025-01-01 00:00:00"
    return row


def seen(key: int) -> datetime | None:
    return instant(key)


def made(key: int) -> datetime:
    moment = instant(key)
    return moment if moment is not None else datetime.fromisoformat(DEFAULT).replace(tzinfo=SHANGHAI)


def write_times(client: MilvusClient, uri: str) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("made", DataType.TIMESTAMPTZ, default_value=DEFAULT)
    schema.add_field("seen", DataType.TIMESTAMPTZ, nullable=True)
    schema.add_field("vec", DataType.FLOAT_VECTOR, dim=2)
    told("unknown or invalid IANA Time Zone ID: Mars/Base", lambda: client.create_collection("nowhere", schema=schema, properties={"timezone": "Mars/Base"}))
    index = client.prepare_index_params()
    index.add_index("vec", index_type="FLAT", metric_type="L2")
    index.add_index("made", index_type="STL_SORT")
    client.create_collection(TIMES, schema=schema, index_params=index, properties={"timezone": "Asia/Shanghai"})
    client.insert(TIMES, [sent_time(key) for key in range(ROWS // 4)])
    client.flush(TIMES)
    rest(uri, "entities/insert", {"collectionName": TIMES, "data": [sent_time(key) for key in range(ROWS // 4, ROWS // 2)]})
    client.insert(TIMES, [sent_time(key) for key in range(ROWS // 2, ROWS)])
    row = sent_time(1)
    for text in ["soon", "2025-02-30T00:00:00", "2025-01-01T00:00:00+25:00", "9999-12-31T23:59:59-01:00"]:
        told("got invalid timestamptz string", lambda: client.insert(TIMES, [row | {"seen": text}]))
    later = {"collectionName": TIMES, "data": [row | {"seen": "tomorrow"}]}
    equal("got invalid timestamptz string" in post(uri, "entities/insert", later)["message"], True, "REST refuses")
    # A delete by a time without offset: one of the collection's zone.
    client.insert(TIMES, [row | {"id": 9999, "made": "2030-01-01T00:00:00Z"}, row | {"id": 9998, "made": "2030-01-01T00:00:00"}])
    client.delete(TIMES, filter="made == ISO '2030-01-01T00:00:00'")
    equal([row["id"] for row in client.query(TIMES, "id > 9000", consistency_level="Strong")], [9999], "deleted by a time")
    client.delete(TIMES, filter="made + INTERVAL 'P1D' == ISO '2030-01-02T00:00:00Z'")
    client.add_collection_field(TIMES, "added", DataType.TIMESTAMPTZ, nullable=True, default_value="2026-01-01T00:00:00Z")


def look_at_times(client: MilvusClient, uri: str, when: str) -> None:
    fields = {field["name"]: field for field in client.describe_collection(TIMES)["fields"]}
    equal(fields["made"]["type"], DataType.TIMESTAMPTZ, "the type")
    equal(fields["made"]["default_value"].string_data, "2025-01-01T00:00:00+08:00", "the default")
    found = client.query(TIMES, "id >= 0", output_fields=["*"], limit=16384, consistency_level="Strong")
    equal({row["id"]: (row["made"], row["seen"]) for row in found}, {key: (shown(made(key)), shown(seen(key))) for key in range(ROWS)}, f"rows {when}")
    equal({row["added"] for row in found}, {"2026-01-01T08:00:00+08:00"}, f"the added field {when}")

    def where(expression: str, keep: Any, **more: Any) -> None:
        answer = client.query(TIMES, expression, output_fields=["id"], limit=16384, consistency_level="Strong", **more)
        equal(sorted(row["id"] for row in answer), [key for key in range(ROWS) if keep(key)], f"{expression} {when}")

    bound = START + timedelta(hours=100)
    some = lambda test: lambda key: seen(key) is not None and test(seen(key))
    for field, value in (("made", lambda test: lambda key: test(made(key))), ("seen", some)):
        where(f"{field} > ISO '{bound.isoformat()}'", value(lambda moment: moment > bound))
        where(f"ISO '{bound.isoformat()}' >= {field}", value(lambda moment: moment <= bound))
        where(f"{field} == ISO '2024-03-01T12:30:00+08:00'", value(lambda moment: moment == START + timedelta(hours=30)))
        where(f"{field} != ISO '2025-01-01T00:00:00'", value(lambda moment: moment != made(5)))
        where(f"{field} + INTERVAL 'P1DT2H' <= ISO '{bound.isoformat()}'", value(lambda moment: moment + timedelta(hours=26) <= bound))
        where(f"{field} - INTERVAL 'P1M' < ISO '2024-02-05T00:00:00Z'", value(lambda moment: moment < datetime(2024, 3, 5, tzinfo=timezone.utc)))
        where(f"not ({field} > ISO '{bound.isoformat()}')", value(lambda moment: moment <= bound))
        where(f"ISO '2024-03-01T00:00:00Z' <= {field} < ISO '2024-03-02T00:00:00Z'", value(lambda moment: moment.day == 1 and moment.month == 3))
    where("seen is null", lambda key: seen(key) is None)
    where("seen == made", lambda key: seen(key) is not None and seen(key) == made(key))
    # What no offset is written of is a time of the request's zone, or else of the collection's.
    where("made < ISO '2024-02-29T08:00:00'", lambda key: made(key) < datetime(2024, 2, 29, tzinfo=timezone.utc))
    where("made < ISO '2024-02-29T08:00:00'", lambda key: made(key) < datetime(2024, 2, 29, 8, tzinfo=timezone.utc), timezone="UTC")

    zone = client.query(TIMES, "id in [0, 1, 3]", output_fields=["seen"], timezone="America/New_York", consistency_level="Strong")
    equal({row["id"]: row["seen"] for row in zone}, {key: shown(seen(key), ZoneInfo("America/New_York")) for key in (0, 1, 3)}, f"in New York {when}")
    parts = client.query(TIMES, "id == 1", output_fields=["seen"], time_fields="year,month,day,hour,minute,second,microsecond", consistency_level="Strong")
    local = seen(1).astimezone(SHANGHAI)
    equal(list(parts[0]["seen"]), [local.year, local.month, local.day, local.hour, local.minute, local.second, local.microsecond], f"parts {when}")
    told("unknown or invalid IANA Time Zone ID", lambda: client.query(TIMES, "id == 1", timezone="Mars/Base"))
    told("unsupported field for extraction", lambda: client.query(TIMES, "id == 1", time_fields="age"))
    told("field 'id' is not a timestamptz datatype", lambda: client.query(TIMES, "id > ISO '2025-01-01T00:00:00Z'"))
    told("Does not match any known format", lambda: client.query(TIMES, "seen > ISO 'soon'"))
    told("comparisons between Timestamptz and VarChar are not supported", lambda: client.query(TIMES, "seen > '2025-01-01T00:00:00Z'"))

    ordered = client.query(TIMES, "id >= 0", output_fields=["made"], order_by=["made:desc"], limit=5, consistency_level="Strong")
    equal([row["made"] for row in ordered], [shown(moment) for moment in sorted(map(made, range(ROWS)), reverse=True)[:5]], f"in order {when}")
    hits = client.search(TIMES, [[3.0, 1.0]], anns_field="vec", limit=20, output_fields=["made"], filter=f"made <= ISO '{bound.isoformat()}'", timezone="UTC", consistency_level="Strong")
    equal([hit["entity"]["made"] for hit in hits[0]], [shown(made(hit["id"]), timezone.utc) for hit in hits[0]], f"hits {when}")
    equal(all(made(hit["id"]) <= bound for hit in hits[0]) and len(hits[0]) == 20, True, f"filtered hits {when}")
    split = client.search(TIMES, [[3.0, 1.0]], anns_field="vec", limit=3, output_fields=["made"], time_fields="year month", consistency_level="Strong")
    equal([list(hit["entity"]["made"]) for hit in split[0]], [[made(hit["id"]).astimezone(SHANGHAI).year, made(hit["id"]).astimezone(SHANGHAI).month] for hit in split[0]], f"parts of hits {when}")
    strict = client.search(TIMES, [[3.0, 1.0]], anns_field="vec", limit=4, output_fields=["made"], group_by_field="made", group_size=2, strict_group_size=True, consistency_level="Strong")
    equal(len({hit["entity"]["made"] for hit in strict[0]}), 4, f"full groups {when}")
    groups = client.search(TIMES, [[3.0, 1.0]], anns_field="vec", limit=10, output_fields=["made"], group_by_field="made", consistency_level="Strong")
    equal(len({hit["entity"]["made"] for hit in groups[0]}), 10, f"groups {when}")
    answer = rest(uri, "entities/query", {"collectionName": TIMES, "filter": "id in [2, 3]", "outputFields": ["seen"], "timezone": "UTC"})
    equal({int(row["id"]): row["seen"] for row in answer}, {2: shown(seen(2), timezone.utc), 3: None}, f"REST {when}")
    pages = client.query_iterator(TIMES, batch_size=150, filter="made < ISO '2024-03-05T00:00:00'", output_fields=["id"])
    read: list[int] = []
    while page := pages.next():
        read += [row["id"] for row in page]
    pages.close()
    equal(sorted(read), [key for key in range(ROWS) if made(key) < datetime(2024, 3, 5, tzinfo=SHANGHAI)], f"pages {when}")


# ---------------------------------------------------------------- shapes


def shape(key: int) -> str | None:
    x, y = key % 20 - 4, key // 20 - 4
    return [
        f"POINT ({x} {y})",
        f"LINESTRING ({x} {y}, {x + 3} {y + 2.5})",
        f"POLYGON (({x} {y}, {x + 2} {y}, {x + 2} {y + 2}, {x} {y + 2}, {x} {y}))",
        None,
        f"MULTIPOINT (({x} {y}), ({x + 30} {y}))",
    ][key % 5]


def point(key: int) -> tuple[int, int] | None:
    return (key % 20 - 4, key // 20 - 4) if key % 5 == 0 else None


def write_shapes(client: MilvusClient, uri: str) -> None:
    schema = client.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("geo", DataType.GEOMETRY, nullable=True)
    schema.add_field("plain", DataType.GEOMETRY, default_value="POINT (1 2)")
    schema.add_field("vec", DataType.FLOAT_VECTOR, dim=2)
    index = client.prepare_index_params()
    index.add_index("vec", index_type="FLAT", metric_type="L2")
    index.add_index("geo", index_type="RTREE")
    client.create_collection(SHAPES, schema=schema, index_params=index)

    def row(key: int) -> dict[str, Any]:
        # Without an index beside the same with one.
        text = shape(key)
        return {"id": key, "vec": [float(key), 1.0], "geo": text} | ({"plain": text} if text else {})

    client.insert(SHAPES, [row(key) for key in range(ROWS // 4)])
    client.flush(SHAPES)
    rest(uri, "entities/insert", {"collectionName": SHAPES, "data": [row(key) for key in range(ROWS // 4, ROWS // 2)]})
    client.insert(SHAPES, [row(key) for key in range(ROWS // 2, ROWS)])
    client.upsert(SHAPES, [row(key) for key in range(0, ROWS, 9)])
    for text in ["POINT (here there)", "CIRCLE (1 1, 2)", "POLYGON ((0 0, 1 0, 1 1))"]:
        told("failed to insert invalid geometry", lambda: client.insert(SHAPES, [row(1) | {"geo": text}]))
    told("invalid coordinate", lambda: client.insert(SHAPES, [row(1) | {"geo": "POINT (here there)"}]))
    bad = client.prepare_index_params()
    bad.add_index("vec", index_type="RTREE", metric_type="L2")
    told("RTREE", lambda: client.create_index(SHAPES, bad))
    bad = client.prepare_index_params()
    bad.add_index("plain", index_type="INVERTED")
    told("INVERTED are not supported on Geometry field", lambda: client.create_index(SHAPES, bad))


def look_at_shapes(client: MilvusClient, uri: str, when: str) -> None:
    found = client.query(SHAPES, "id >= 0", output_fields=["*"], limit=16384, consistency_level="Strong")
    equal({row["id"]: (row["geo"], row["plain"]) for row in found}, {key: (shape(key), shape(key) or "POINT (1 2)") for key in range(ROWS)}, f"shapes {when}")

    def where(expression: str) -> list[int]:
        answer = client.query(SHAPES, expression, output_fields=["id"], limit=16384, consistency_level="Strong")
        return sorted(row["id"] for row in answer)

    functions = ["st_equals", "st_touches", "st_overlaps", "st_crosses", "st_contains", "st_intersects", "st_within"]
    constants = [SQUARE, "POINT (3 3)", "LINESTRING (-10 5, 30 5)", "POLYGON ((2 2, 3 2, 3 3, 2 3, 2 2))", "POINT (26 0)", "GEOMETRYCOLLECTION (POINT (5 5), POINT (90 9))"]
    for function in functions:
        for text in constants:
            indexed, compared = where(f"{function}(geo, '{text}')"), where(f"geo is not null and {function.upper()}(plain, '{text}')")
            equal(indexed, compared, f"{function} {text} with and without an index {when}")
    inside = [key for key in range(ROWS) if (at := point(key)) and 0 < at[0] < 10 and 0 < at[1] < 10]
    equal([key for key in where(f"st_within(geo, '{SQUARE}')") if key % 5 == 0], inside, f"points in the square {when}")
    on_edge = [key for key in range(ROWS) if (at := point(key)) and 0 <= at[0] <= 10 and 0 <= at[1] <= 10 and key not in inside]
    equal([key for key in where(f"st_touches(geo, '{SQUARE}')") if key % 5 == 0], on_edge, f"points on its edge {when}")
    near = [key for key in range(ROWS) if (at := point(key)) and abs(at[0] - 3) + abs(at[1] - 3) <= 1]
    equal([key for key in where("st_dwithin(geo, 'POINT (3 3)', 112000)") if key % 5 == 0], near, f"points at most a degree away {when}")
    equal(where("st_dwithin(geo, 'POINT (3 3)', 150000.5)"), where("geo is not null and ST_DWITHIN(plain, 'POINT (3 3)', 150000.5)"), f"near by index {when}")
    equal(where("geo is null"), [key for key in range(ROWS) if shape(key) is None], f"no shape {when}")
    equal(where("st_isvalid(geo)"), [key for key in range(ROWS) if shape(key)], f"sound shapes {when}")
    equal(len(where(f"not st_intersects(geo, '{SQUARE}')")) + len(where(f"st_intersects(geo, '{SQUARE}')")) + ROWS // 5, ROWS, f"what is not {when}")
    hits = client.search(SHAPES, [[200.0, 1.0]], anns_field="vec", limit=10, output_fields=["geo"], filter=f"st_intersects(geo, '{SQUARE}')", consistency_level="Strong")
    equal([hit["entity"]["geo"] for hit in hits[0]], [shape(hit["id"]) for hit in hits[0]], f"hits {when}")
    answer = rest(uri, "entities/query", {"collectionName": SHAPES, "filter": f"ST_WITHIN(geo, '{SQUARE}')", "outputFields": ["id", "geo"], "limit": 1000})
    equal({int(row["id"]): row["geo"] for row in answer}, {key: shape(key) for key in where(f"st_within(geo, '{SQUARE}')")}, f"REST {when}")
    for expression, words in (
        ("st_equals(geo, 'HERE')", "cannot parse WKT"),
        ("st_within(geo, 'POLYGON ((0 0, 10 0, 10 10))')", "must be closed"),
        ("st_within(id, 'POINT (1 1)')", "is not a geometry datatype"),
        ("st_within(geo)", "does not accept these parameters"),
        ("st_around(geo, 'POINT (1 1)')", "function st_around(Geometry, string) not found"),
        ("st_dwithin(geo, 'POINT (1 1)', -1)", "not negative"),
        ("geo == 'POINT (1 1)'", "comparisons between Geometry and VarChar are not supported"),
    ):
        told(words, lambda: client.query(SHAPES, expression))


def main() -> None:
    logging.disable(logging.CRITICAL)  # pymilvus logs each refusal with a stack; refusals are asked for here
    uri = sys.argv[1]
    client = MilvusClient(uri, timeout=60)
    if sys.argv[2] == "write":
        write_times(client, uri)
        write_shapes(client, uri)
        when = "before"
    else:
        client.load_collection(TIMES)
        client.load_collection(SHAPES)
        when = "after the engine was killed"
    look_at_times(client, uri, when)
    look_at_shapes(client, uri, when)


if __name__ == "__main__":
    main()
