"""Users, roles and what they may do, with the real client and over REST.

    users.py HOST:PORT checked|again|open

`checked` runs against an engine with `common.security.authorizationEnabled` that nobody has used yet; `again` against the same
one after a restart; `open` against one without that setting.
"""

import base64
import json
import sys
import urllib.error
import urllib.request

import grpc
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc

DIM = 4


def connect(address: str, user: str = "", password: str = "", **more) -> MilvusClient:
    return MilvusClient(f"http://{address}", user=user, password=password, timeout=10, **more)


def refused(what: str, call, *words: str) -> None:
    """`call` fails, and says all of `words`."""
    try:
        call()
    except (MilvusException, grpc.RpcError) as error:
        for word in words:
            assert word in str(error), f"{what}: {word!r} is not in {error}"
        return
    raise AssertionError(f"{what}: it was not refused")


def rest(address: str, path: str, body: dict, token: str | None = None) -> tuple[int, dict]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    url = f"http://{address}/v2/vectordb/{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def asked(address: str, credentials: str | None) -> tuple[str, str]:
    """The code and the text of gRPC that a bare call is answered."""
    metadata = [("authorization", base64.b64encode(credentials.encode()).decode())] if credentials else []
    with grpc.insecure_channel(address) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        try:
            return "OK", stub.GetVersion(milvus_pb2.GetVersionRequest(), timeout=10, metadata=metadata).status.reason
        except grpc.RpcError as error:
            return error.code().name, error.details()


def guide1_case_007_only_who_says_who_they_are_gets_in(address: str) -> None:
    assert asked(address, None) == ("UNAUTHENTICATED", "missing authorization in header")
    wrong = "auth check failure, please check username and password are correct"
    for credentials in ("root:milvus", "nobody:Milvus"):
        assert asked(address, credentials) == ("UNAUTHENTICATED", wrong)
    assert asked(address, "a-key") == ("UNAUTHENTICATED", "auth check failure, please check api key is correct")
    assert asked(address, "root:Milvus") == ("OK", "")
    # This generation of the client says no more than that.
    refused("no credentials", lambda: connect(address), "Fail connecting to server")
    refused("wrong password", lambda: connect(address, "root", "milvus"), "Fail connecting to server")
    connect(address, "root", "Milvus").list_collections()
    MilvusClient(f"http://{address}", token="root:Milvus").list_collections()


def guide1_case_008_a_new_user_may_look_and_no_more(root: MilvusClient, address: str) -> None:
    root.create_user("new_user", "secure_password")
    assert set(root.list_users()) == {"new_user", "root"}, root.list_users()
    user = connect(address, "new_user", "secure_password")
    assert user.list_collections() == []
    denied = "permission deny to new_user"
    refused(
        "make a collection",
        lambda: user.create_collection("mine", dimension=DIM),
        "PrivilegeCreateCollection",
        denied,
    )
    refused("make a user", lambda: user.create_user("x", "secure_password"), "PrivilegeCreateOwnership", denied)
    refused("list users", user.list_users, "PrivilegeSelectOwnership", denied)


def guide1_case_009_a_user_changes_their_own_password(address: str) -> None:
    user = connect(address, "new_user", "secure_password")
    user.update_password("new_user", "secure_password", "new_secure_password", reset_connection=True)
    assert user.list_collections() == []
    assert asked(address, "new_user:secure_password")[0] == "UNAUTHENTICATED"
    refused(
        "wrong old password",
        lambda: user.update_password("new_user", "secure_password", "other_password"),
        "old password not correct for new_user",
        "1400",
    )


def guide1_case_010_rules_of_users(root: MilvusClient, address: str) -> None:
    for user, password, words in [
        ("abc", "12345", ("1100", "6 <= value <= 256")),
        ("1abc", "secure_password", ("1100", "first character must be a letter")),
        ("new_user", "secure_password", ("user already exists",)),
    ]:
        refused(user, lambda user=user, password=password: root.create_user(user, password), *words)
    refused("drop root", lambda: root.drop_user("root"), "1401", "root user cannot be deleted")
    root.drop_user("missing_user")
    open_connection = connect(address, "new_user", "new_secure_password")
    open_connection.list_collections()
    root.drop_user("new_user")
    refused("a user who was dropped", open_connection.list_collections, "auth check failure")


def roles_give_what_they_were_granted(root: MilvusClient, address: str) -> None:
    root.create_collection("books", dimension=DIM, consistency_level="Strong")
    root.create_collection("films", dimension=DIM, consistency_level="Strong")
    rows = [{"id": key, "vector": [float(key)] * DIM} for key in range(10)]
    root.insert("books", rows)
    root.create_user("ann", "secure_password")
    root.create_role("reader")
    root.grant_role("ann", "reader")
    assert list(root.describe_user("ann")["roles"]) == ["reader"]
    assert set(root.list_roles()) == {"admin", "public", "reader"}
    ann = connect(address, "ann", "secure_password")
    search = lambda name: ann.search(name, data=[[1.0] * DIM], limit=3)
    refused("search", lambda: search("books"), "PrivilegeSearch: permission deny to ann in the `default` database")

    root.grant_privilege_v2("reader", "Search", "books", "default")
    assert len(search("books")[0]) == 3
    refused("another collection", lambda: search("films"), "PrivilegeSearch")
    refused("insert", lambda: ann.insert("books", rows), "PrivilegeInsert")
    assert ann.list_collections() == ["books"]
    root.grant_privilege("reader", "Collection", "Insert", "books")
    assert ann.insert("books", rows)["insert_count"] == 10
    granted = {grant["privilege"] for grant in root.describe_role("reader")["privileges"]}
    assert granted == {"Search", "Insert"}, granted

    root.revoke_privilege_v2("reader", "Search", "books", "default")
    refused("search after a revoke", lambda: search("books"), "PrivilegeSearch")
    root.create_privilege_group("mine")
    root.add_privileges_to_group("mine", ["Query", "Search"])
    root.grant_privilege_v2("reader", "mine", "*", "default")
    assert len(search("films")[0]) == 0 and len(ann.query("books", filter="id < 3")) == 3
    refused("a group in use", lambda: root.drop_privilege_group("mine"), "is used by role [reader]")
    refused("a role with grants", lambda: root.drop_role("reader"), "Use REVOKE API to revoke privileges")
    refused("a default role", lambda: root.drop_role("admin"), "is a default role")


def rest_is_checked_too(address: str) -> None:
    unknown = (401, {"code": 1800, "message": "user hasn't authenticated"})
    assert rest(address, "collections/list", {}) == unknown
    assert rest(address, "collections/list", {}, "root:wrong") == unknown
    status, answer = rest(address, "collections/list", {}, "root:Milvus")
    assert (status, answer["code"], set(answer["data"])) == (200, 0, {"books", "films"}), answer
    assert rest(address, "users/list", {}, "ann:secure_password")[0] == 403
    status, answer = rest(address, "roles/describe", {"roleName": "reader"}, "root:Milvus")
    assert (status, answer["code"]) == (200, 0) and len(answer["data"]) == 2, answer


def what_was_made_is_there_after_a_restart(address: str) -> None:
    ann = connect(address, "ann", "secure_password")
    assert len(ann.query("books", filter="id < 3")) == 3
    refused("make a user", lambda: ann.create_user("x", "secure_password"), "PrivilegeCreateOwnership")


def nobody_is_asked(address: str) -> None:
    client = connect(address, "user", "ever")
    client.create_user("ann", "secure_password")
    assert set(client.list_users()) == {"ann", "root"}
    assert rest(address, "users/list", {})[1]["data"] == ["ann", "root"]


def main() -> None:
    address, kind = sys.argv[1:]
    if kind == "open":
        nobody_is_asked(address)
        return
    if kind == "again":
        what_was_made_is_there_after_a_restart(address)
        return
    guide1_case_007_only_who_says_who_they_are_gets_in(address)
    root = connect(address, "root", "Milvus")
    guide1_case_008_a_new_user_may_look_and_no_more(root, address)
    guide1_case_009_a_user_changes_their_own_password(address)
    guide1_case_010_rules_of_users(root, address)
    roles_give_what_they_were_granted(root, address)
    rest_is_checked_too(address)


if __name__ == "__main__":
    main()
