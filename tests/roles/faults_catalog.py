"""The catalog made anew: from the bucket after the loss of etcd, and where a standalone becomes a cluster."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from typing import Any, Callable

import grpc
from pymilvus import MilvusClient, MilvusException

from cluster import RELEASE, Cluster, Node, Process
from load import Load, Still, Workers, connect, make, row, until, vector
from parts import part, stopped


def described(client: MilvusClient) -> dict[str, Any]:
    """Everything that a client can see of the catalog, but for what changes by itself."""
    seen: dict[str, Any] = {"groups": {}, "users": {}, "roles": {}}
    for user in client.list_users():
        seen["users"][user] = sorted(client.describe_user(user).get("roles", ()))
    for role in client.list_roles():
        grants = client.describe_role(role).get("privileges", ())
        seen["roles"][role] = sorted(json.dumps(grant, sort_keys=True, default=str) for grant in grants)
    seen["privilege groups"] = {each["privilege_group"]: sorted(each["privileges"]) for each in client.list_privilege_groups()}
    for group in client.list_resource_groups():
        seen["groups"][group] = str(client.describe_resource_group(group).config)
    for database in client.list_databases():
        client.use_database(database)
        seen[database] = {"properties": client.describe_database(database)}
        for name in client.list_collections():
            indexes = [client.describe_index(name, index) for index in client.list_indexes(name)]
            wanted = ("index_type", "metric_type", "field_name", "index_name", "M", "efConstruction")
            seen[database][name] = {
                "collection": {key: value for key, value in client.describe_collection(name).items() if key != "update_timestamp"},
                "partitions": client.list_partitions(name),
                "aliases": sorted(client.list_aliases(name)["aliases"]),
                "indexes": [{key: index.get(key) for key in wanted} for index in indexes],
                "loaded": str(client.get_load_state(name)["state"]),
            }
    client.use_database("default")
    return seen


def furnish(client: MilvusClient) -> None:
    """One of everything that a catalog can have."""
    client.create_database("other", properties={"database.replica.number": 1})
    client.create_resource_group("gold", config={"requests": {"node_num": 0}, "limits": {"node_num": 3}})
    make(client, "written", shards=2)
    client.create_alias("written", "the_written")
    client.create_partition("written", "part")
    client.use_database("other")
    make(client, "elsewhere", shards=1)
    client.insert("elsewhere", [row(key, 5) for key in range(100)])
    client.release_collection("elsewhere")
    client.use_database("default")
    for user, password in PASSWORDS.items():
        client.create_user(user, password)
    client.create_role("reader")
    client.create_privilege_group("mine")
    client.add_privileges_to_group("mine", ["Query", "Search"])
    client.grant_privilege_v2("reader", "mine", "*", "default")
    client.grant_privilege("reader", "Collection", "Insert", "written")
    client.grant_role("ann", "reader")


# Whoever has no role may do nothing with collections.
PASSWORDS = {"ann": "password_of_ann", "bob": "password_of_bob"}


def denied(what: str, call: Callable[[], Any], words: str) -> None:
    try:
        call()
    except (MilvusException, grpc.RpcError) as error:
        if words not in str(error):
            raise AssertionError(f"{what} is refused otherwise: {error}") from None
        return
    raise AssertionError(f"{what} is not refused")


def let_in(cluster: Cluster) -> None:
    proxy = cluster.start("proxy", environment={"REDKITE__COMMON__SECURITY__AUTHORIZATIONENABLED": "true"})
    admitted(proxy.uri)
    stopped(proxy)


def admitted(uri: str) -> None:
    """A proxy that checks its users: by the users, roles and grants of the catalog who was let in is, and nobody else."""
    entered = {user: MilvusClient(uri, user=user, password=password, timeout=10) for user, password in PASSWORDS.items()}
    count = entered["ann"].query("written", filter="", output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"]
    if count == 0:
        raise AssertionError("ann sees no row")
    entered["ann"].insert("written", [row(11, 11)])
    denied("a drop by ann", lambda: entered["ann"].drop_collection("written"), "permission deny")
    denied("a query by bob", lambda: entered["bob"].query("written", filter="id == 11"), "permission deny")
    denied("a wrong password", lambda: MilvusClient(uri, user="ann", password="password_of_bob", timeout=10).list_collections(), "")


def elsewhere(client: MilvusClient) -> None:
    """The collection that was not loaded, by value."""
    client.use_database("other")
    client.load_collection("elsewhere")
    rows = client.query("elsewhere", filter="id >= 0", output_fields=["id", "value", "vec"], consistency_level="Strong")
    found = {each["id"]: (each["value"], list(map(float, each["vec"]))) for each in rows}
    wanted = {key: (5, [float(one) for one in vector(key, 5)]) for key in range(100)}
    if found != wanted:
        raise AssertionError(f"{len(found)} rows elsewhere, wanted {len(wanted)}")
    client.use_database("default")


def ctl(cluster: Cluster, *arguments: Any, environment: dict[str, str] | None = None) -> str:
    """Runs `redkite ctl`, and returns what it says."""
    done = subprocess.run(
        [RELEASE / "redkite", "ctl", *map(str, arguments)], env={**os.environ, **(environment or cluster.environment())},
        capture_output=True, text=True, timeout=300,
    )
    if done.returncode != 0:
        raise AssertionError(f"redkite ctl {arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def refused(node: Node, words: str) -> None:
    """The node ends by itself and says why."""
    until(f"{node.name} refuses to start", 30, lambda: not node.alive())
    if node.popen.returncode == 0 or words not in node.log.read_text():
        raise AssertionError(f"{node.name} ended with {node.popen.returncode} and says nothing of {words!r}:\n{node.tail()}")


def begin_roles(cluster: Cluster) -> None:
    for role in ("mixcoord", "streamingnode", "querynode", "datanode", "proxy"):
        cluster.start(role, wait=False)
    for node in cluster.nodes.values():
        if node.alive():
            node.wait_healthy()


def when_loaded(client: MilvusClient, still: Still) -> None:
    """That a collection is to be loaded is in the catalog; that it is comes once owners and query nodes have what they need."""
    until("searches of the loaded collection", 60, lambda: still.check(client) or True)
    until("the written collection is loaded", 60, lambda: "Loaded" in str(client.get_load_state("written")["state"]))


@part
def rebuild(given: argparse.Namespace) -> dict[str, Any]:
    """etcd and every process are lost under load; from the bucket alone come the catalog, with its users, roles and grants, and every
    acknowledged row. The common load without its changes of the catalog, which is compared with what it was."""
    with Cluster(keep=given.keep) as cluster:
        client = connect(cluster.uri)
        furnish(client)
        still = Still(client, "still")
        workers = Workers()
        uri = cluster.uri
        load = Load(workers, "written", still, lambda: uri, changes=False)
        time.sleep(4)
        client.flush("written")
        before = described(client)
        time.sleep(2)
        for process in [*cluster.nodes.values(), *[each for name, each in cluster.servers.items() if name.startswith("etcd")]]:
            process.kill()
        workers.stop()
        for folder in cluster.folder.glob("etcd-*"):
            if folder.is_dir():
                shutil.rmtree(folder)
        cluster.start_etcd()
        refused(cluster.start("mixcoord", wait=False), "redkite ctl rebuild")
        begin = time.monotonic()
        said = ctl(cluster, "rebuild")
        rebuilt = time.monotonic() - begin
        begin_roles(cluster)
        client = connect(cluster.uri)
        when_loaded(client, still)
        if described(client) != before:
            raise AssertionError(f"another catalog: {described(client)}, wanted {before}")
        rows = load.compare(client)
        elsewhere(client)
        again = subprocess.run([RELEASE / "redkite", "ctl", "rebuild"], env={**os.environ, **cluster.environment()},
                               capture_output=True, text=True, timeout=60)
        if again.returncode == 0 or "not empty" not in again.stderr:
            raise AssertionError(f"a catalog with a leader was written over: {again.stdout}{again.stderr}")
        client.insert("written", [row(9, 9)])
        let_in(cluster)
        return {"rows equal": rows + 3300 + 100, "rebuild ms": round(rebuilt * 1000), "said": said.strip()}


class Alone:
    """A standalone with data in it, which clients write to, beside the stores of a cluster that has no role yet."""

    def __init__(self, cluster: Cluster, environment: dict[str, str]) -> None:
        self.cluster = cluster
        self.node = Node("standalone-0", "standalone", cluster.folder, environment)
        cluster.nodes["standalone-0"] = self.node
        self.node.wait_healthy()
        client = connect(self.node.uri)
        furnish(client)
        self.still = Still(client, "still")
        self.workers = Workers()
        # Without changes of the catalog, which is compared with what it is now.
        self.load = Load(self.workers, "written", self.still, lambda: self.node.uri, changes=False)
        time.sleep(4)
        self.before = described(client)

    def becomes_a_cluster(self, begin: float, refusal: str) -> tuple[int, float]:
        """Starts the roles, which have everything that the standalone had, while that is refused. Rows that were compared, and
        seconds from `begin` until searches were answered."""
        begin_roles(self.cluster)
        client = connect(self.cluster.uri)
        when_loaded(client, self.still)
        away = time.monotonic() - begin
        if described(client) != self.before:
            raise AssertionError(f"another catalog: {described(client)}, wanted {self.before}")
        rows = self.load.compare(client)
        elsewhere(client)
        let_in(self.cluster)
        self.node.start()
        refused(self.node, refusal)
        return rows + 3300 + 100, away


@part
def grow_bucket(given: argparse.Namespace) -> dict[str, Any]:
    """A standalone whose sealed data is in a bucket is stopped, and a cluster begins on that bucket."""
    with Cluster(proxies=0, coords=0, streaming=0, query=0, data=0, keep=given.keep) as cluster:
        without_etcd = {key: value for key, value in cluster.environment().items() if key != "ETCD_ENDPOINTS"}
        alone = Alone(cluster, without_etcd)
        begin = time.monotonic()
        took = stopped(alone.node)
        if took > 5:
            raise AssertionError(f"it took {took:.1f} s to stop amid writes")
        alone.workers.stop()
        rows, away = alone.becomes_a_cluster(begin, "elsewhere")
        return {"rows equal": rows, "stop s": round(took, 1), "from stop to searches s": round(away, 1)}


@part
def grow_move(given: argparse.Namespace) -> dict[str, Any]:
    """A standalone with a directory of its own is moved to a bucket and etcd while clients write to it."""
    with Cluster(proxies=0, coords=0, streaming=0, query=0, data=0, keep=given.keep) as cluster:
        alone = Alone(cluster, {})
        directory = cluster.folder / "standalone-0.data"
        mover = Process("move", [RELEASE / "redkite", "ctl", "move", "--from", directory], cluster.folder, cluster.environment())
        cluster.servers["move"] = mover
        until("most is copied", 60, lambda: "stop the source now" in mover.log.read_text())
        time.sleep(2)
        begin = time.monotonic()
        stopped(alone.node)
        until("the move ends", 60, lambda: not mover.alive())
        paused = round(time.monotonic() - begin, 1)
        alone.workers.stop()
        if mover.popen.returncode != 0:
            raise AssertionError(f"the move ended with {mover.popen.returncode}\n{mover.tail()}")
        if paused > 10:
            raise AssertionError(f"no writes for {paused} s")
        rows, _ = alone.becomes_a_cluster(begin, "was moved to")
        again = subprocess.run([RELEASE / "redkite", "ctl", "move", "--from", directory],
                               env={**os.environ, **cluster.environment()}, capture_output=True, text=True, timeout=60)
        if again.returncode == 0:
            raise AssertionError(f"a directory was moved over a cluster: {again.stdout}")
        return {"rows equal": rows, "no writes s": paused}
