"""Part 1, collections and their schemas."""

from __future__ import annotations

from harness import Server, case, equal


@case
def case_1_022_properties_are_texts_and_are_there_after_a_restart(server: Server) -> None:
    with server.another() as own:
        client = own.client()
        client.create_collection("kept", dimension=4)
        client.alter_collection_properties("kept", {"collection.ttl.seconds": 86400})
        client.alter_collection_properties("kept", {"collection.replica.number": 2})
        wanted = {"collection.ttl.seconds": "86400", "collection.replica.number": "2"}
        for _ in range(2):
            found = own.client().describe_collection("kept")["properties"]
            equal({key: found.get(key) for key in wanted}, wanted)
            own.stop()
            own.start()
