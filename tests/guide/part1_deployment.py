"""Part 1, deployments that need no Kubernetes."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import textwrap
from collections.abc import Iterator

import harness
from harness import Server, case, equal, holds, until
from part1_schemas import IVF, STRONG, count, ids, key, plain, ready, uniform, vector
from pymilvus import Collection, CollectionSchema, utility

SETTINGS = """
    proxy:
      port: 19530
      grpc: {serverMaxRecvSize: 536870912, serverMaxSendSize: 536870912, clientMaxRecvSize: 104857600, clientMaxSendSize: 104857600}
      http: {enabled: true, port: 9091}
      timeTickInterval: 200
      msgStream: {timeTick: {bufSize: 512}}
      maxTaskNum: 1024
    queryNode:
      cacheSize: 32
      gracefulStopTimeout: 30
      stats: {publishInterval: 1000}
      dataSync: {flowGraph: {maxQueueLength: 1024, maxParallelism: 1024}}
      segcore: {chunkRows: 1024}
    dataNode:
      dataSync: {flowGraph: {maxQueueLength: 1024}}
      flush: {insertBufSize: 16777216}
    indexNode: {scheduler: {buildParallel: 1}}
    tls: {serverPemPath: /path/to/server.pem, serverKeyPath: /path/to/server.key, caPemPath: /path/to/ca.pem}
    dataCoord:
      enableCompaction: true
      enableAutoCompaction: true
      compaction: {min: {interval: 60}, max: {interval: 3600}}
    pulsar: {address: "pulsar://pulsar-proxy:6650", maxMessageSize: 5242880}
    etcd: {rootPath: by-dev, metaSubPath: meta, kvSubPath: kv}
    minio: {useSSL: false, bucketName: milvus-bucket, rootPath: file, useIAM: false, iamEndpoint: ""}
"""  # 0.9 of the guide, without the addresses of etcd and of a bucket that are not there


@case
def case_1_120_one_process_with_a_local_disk_is_enough(server: Server) -> None:
    with server.another() as own:
        own.connect()
        collection = Collection("dev_test", CollectionSchema([key(auto=True), vector()]))
        given = list(collection.insert([uniform(100)]).primary_keys)
        ready(collection, IVF)
        hits = collection.search(data=uniform(1), anns_field="embedding", param={"nprobe": 10}, limit=5, **STRONG)[0]
        equal((len(hits), hits[0].id, hits[0].distance), (5, given[0], 0.0))
        own.stop()
        own.start()
        own.connect()
        until("it is loaded again", 30, lambda: ids(Collection("dev_test"), "id >= 0") == given)
        own.stop()
        shutil.rmtree(own.folder / "data")
        own.start()
        own.connect()
        equal(utility.list_collections(), [])


def warnings(server: Server, settings: str) -> str:
    """What a standalone with this file of settings warns of when it starts; it works with them."""
    file = server.folder / "milvus.yaml"
    file.write_text(textwrap.dedent(settings))
    with server.another(flags=("--config", str(file))) as own:
        own.connect()
        equal(count(ready(Collection("configured", CollectionSchema(plain(4))))), 0)
        return "\n".join(line for line in (own.folder / "log").read_text().splitlines() if "WARN" in line and "unknown" in line)


@case
def case_1_121_the_guides_settings_are_taken_or_reported(server: Server) -> None:
    said = warnings(server, SETTINGS)
    for unknown in ("queryNode.cacheSize", "dataNode.flush.insertBufSize", "dataCoord.compaction.min.interval",
                    "dataCoord.compaction.max.interval", "dataCoord.enableAutoCompaction"):
        holds(unknown in said, f"{unknown} is reported: {said}")
    for known in ("queryNode.gracefulStopTimeout", "dataCoord.enableCompaction", "minio.bucketName", "tls.serverPemPath", "etcd.rootPath"):
        holds(known not in said, f"{known} is known: {said}")


def listens(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


@case
def case_1_121a_the_port_of_the_settings_is_the_port(server: Server) -> None:
    """What else of the guide's settings takes effect: 1.43a."""
    port, folder = harness.free_port(), server.folder / "port"
    holds("proxy.port" not in warnings(server, f"proxy: {{port: {port}}}"), "proxy.port is known")
    folder.mkdir()
    others = ["--metrics-listen", f"127.0.0.1:{harness.free_port()}", "--internal-listen", f"127.0.0.1:{harness.free_port()}"]
    command = [str(harness.BINARY), "run", "standalone", "--data-dir", str(folder), "--config", str(server.folder / "milvus.yaml"), *others]
    with open(server.folder / "port.log", "ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until("the port of the settings is open", 30, lambda: listens(port))
        finally:
            process.kill()


@contextlib.contextmanager
def bucket(server: Server) -> Iterator[dict[str, str]]:
    """An S3 server with a folder behind it: the settings that reach it."""
    subprocess.run([str(harness.HERE / "../cluster/build"), "versitygw"], check=True, capture_output=True)
    folder, port = server.folder / "store", harness.free_port()
    folder.mkdir()
    command = ["versitygw", "--port", f"127.0.0.1:{port}", "--region", "us-west-2", "posix", str(folder)]
    keys = {"ROOT_ACCESS_KEY": "minioadmin", "ROOT_SECRET_KEY": "minioadmin"}
    with open(server.folder / "store.log", "ab") as log, subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **keys}) as process:
        try:
            until("the bucket's server listens", 30, lambda: listens(port))
            login = {"ACCESSKEYID": "minioadmin", "SECRETACCESSKEY": "minioadmin"}
            settings = {"ADDRESS": "127.0.0.1", "PORT": str(port), "REGION": "us-west-2", **login}
            yield {f"REDKITE__MINIO__{name}": value for name, value in settings.items()}
        finally:
            process.kill()


@case
def case_1_122_two_deployments_share_a_bucket_and_not_their_collections(server: Server) -> None:
    with bucket(server) as shared:
        in_minio = {**shared, "REDKITE__MINIO__BUCKETNAME": "milvus-bucket", "REDKITE__MINIO__ROOTPATH": "file"}
        as_aws = {**in_minio, "REDKITE__MINIO__ROOTPATH": "milvus", "REDKITE__MINIO__CLOUDPROVIDER": "aws"}
        with server.another(in_minio) as first, server.another(as_aws) as second:
            deployments = {"first": first, "second": second}
            for number, (name, each) in enumerate(deployments.items()):
                each.connect()
                collection = Collection(name, CollectionSchema(plain(8)))
                collection.insert([list(range(number, 100 + number)), uniform(100, 8)])
                ready(collection, flush=True)
            for number, (name, each) in enumerate(deployments.items()):
                each.stop()
                each.start()
                each.connect()
                equal(utility.list_collections(), [name])
                wanted = list(range(number, 100 + number))
                until("its rows are there", 30, lambda wanted=wanted, name=name: ids(Collection(name), "id >= 0") == wanted)
            roots = {path.name for path in (server.folder / "store" / "milvus-bucket").iterdir() if not path.name.startswith(".")}
            equal(roots, {"file", "milvus"})
