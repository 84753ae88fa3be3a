# shellcheck shell=bash
# Starts and stops an etcd of three members on loopback. Sourced after scripts/env.sh, never run.

# start_etcd FOLDER: three members with their data and logs in FOLDER; sets ETCD_ENDPOINTS (host:port, separated by
# commas) and ETCD_PIDS, both in the same order, so that a test can stop or kill member I by ${ETCD_PIDS[I]}.
start_etcd() {
  local folder=$1 cluster='' member ports
  "$ROOT/tests/cluster/build" etcd
  mkdir -p "$folder"
  mapfile -t ports < <(free_ports 6)
  for member in 0 1 2; do
    cluster+=${cluster:+,}m$member=http://127.0.0.1:${ports[member + 3]}
  done
  ETCD_ENDPOINTS=127.0.0.1:${ports[0]},127.0.0.1:${ports[1]},127.0.0.1:${ports[2]}
  ETCD_PIDS=()
  for member in 0 1 2; do
    start_member "$folder" "m$member" "http://127.0.0.1:${ports[member]}" "http://127.0.0.1:${ports[member + 3]}" "$cluster"
    ETCD_PIDS+=("$ETCD_PID")
  done
  for member in 0 1 2; do
    if ! wait_for "member $member of etcd" 30 etcd_answers "http://127.0.0.1:${ports[member]}"; then
      tail -n 20 "$folder/m$member.log" >&2
      stop_etcd
      return 1
    fi
  done
}

# start_member FOLDER NAME CLIENT_URL PEER_URL CLUSTER [FLAG…]: one member; sets ETCD_PID. The same call starts it again.
# Member processes that a kill -9 ends lose nothing, so the tests spare the disk.
start_member() {
  local folder=$1 name=$2 client=$3 peer=$4 cluster=$5
  shift 5
  etcd --name "$name" --data-dir "$folder/$name" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" \
    --initial-cluster "$cluster" --initial-cluster-token redkite-test "$@" >>"$folder/$name.log" 2>&1 &
  ETCD_PID=$!
}

etcd_answers() { curl --silent --fail --max-time 2 "$1/health" | grep -q '"health":"true"'; }

# stop_etcd: ends every member, also one that a test has stopped or killed.
stop_etcd() {
  local pid
  for pid in "${ETCD_PIDS[@]:-}"; do
    [ -n "$pid" ] || continue
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  ETCD_PIDS=()
}

# free_ports COUNT: that many different TCP ports that nobody listens on right now, one a line.
free_ports() {
  python3 -c 'import socket, sys
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
for one in held: print(one.getsockname()[1])' "$1"
}
