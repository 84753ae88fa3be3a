# The life of a cluster's parts: control plane, nodes, the port on the machine.
# shellcheck shell=bash

# Namespaces in which everything of a role dies with its first process, and its
# mounts with it.
spawn_namespaced() { # ROLE NETNS LOG INIT…
  local role=$1 ns
  ns=$(netns "$2")
  # shellcheck disable=SC2145
  spawn "$role" "$3" nsenter --net="/run/netns/$ns" \
    unshare --mount --pid --uts --ipc --fork --kill-child --mount-proc --propagation private "${@:4}"
}

control_boot() {
  spawn_namespaced control net "$STATE/logs/control.log" "$CLUSTER_DIR/lib/control-init" "$STATE"
}

node_boot() {
  local i=$1 dir
  for dir in /var/lib/kubelet /run/netns /run/containerd /var/lib/cni /var/log/containers; do
    mkdir -p "$dir" # mount points, empty ones on the machine itself
  done
  rm -f "$STATE/nodes/n$i/imported"
  node_net_up "$i"
  # Groups of the time before a reboot would make the kubelet look for their
  # containers, for seconds each.
  cgroup_down "$(cgroup_root "$i")" || die "control groups of node n$i are still busy"
  cgroup_up "$i"
  spawn_namespaced "n$i" "n$i" "$STATE/nodes/n$i/init.log" "$CLUSTER_DIR/lib/node-init" "$STATE" "$i"
}

# The cable goes first: a dead machine sends no farewell to its peers.
node_kill() {
  node_link "$1" down 2>/dev/null || true
  kill_roles "n$1"
}

kube() { in_ns net kubectl --kubeconfig "$STATE/pki/admin.conf" "$@"; }

cluster_up() {
  local i image
  mkdir -p "$STATE"/{pids,logs,images,etc,pki}
  chmod 700 "$STATE"
  RID=$(od -An -N3 -tx1 /dev/urandom | tr -d ' \n')
  printf 'RID=%s\nNODES=%s\nZONES=%s\n' "$RID" "$NODES" "$ZONES" >"$STATE/env"

  net_up
  spawn forward "$STATE/logs/forward.log" rktool forward -port-file "$STATE/port" \
    -netns "/run/netns/$(netns net)" -to "$CONTROL_IP:6443"
  wait_for 50 "the port on the machine" test -s "$STATE/port"
  rktool pki -dir "$STATE/pki" -name "$NAME" -nodes "$NODES" -server "$CONTROL_IP" -service "$SERVICE_IP" \
    -node-prefix "$NODE_PREFIX" -host-url "https://127.0.0.1:$(<"$STATE/port")"
  install -m 600 "$STATE/pki/host.conf" "$STATE/kubeconfig"
  write_control_config
  control_boot
  for image in "$BIN"/images/*.tar; do keep_image "$image"; done
  for ((i = 1; i <= NODES; i++)); do
    write_node_config "$i"
    node_boot "$i"
  done
  say "control plane and $NODES nodes started"

  rktool_wait "https://127.0.0.1:$(<"$STATE/port")/readyz"
  say "apiserver ready"
  kube apply -f "$CLUSTER_DIR/manifests/base.yaml" >>"$STATE/logs/apply.log"
  kube create configmap local-path-config -n local-path-storage \
    --from-file=config.json="$STATE/etc/local-path.json" --from-file=setup="$CLUSTER_DIR/manifests/local-path-setup" \
    --from-file=teardown="$CLUSTER_DIR/manifests/local-path-teardown" \
    --from-file=helperPod.yaml="$STATE/etc/local-path-helper.yaml" >>"$STATE/logs/apply.log"
  for ((i = 1; i <= NODES; i++)); do
    wait_for 1200 "node n$i to register" kube get node "n$i"
  done
  kube wait --for=condition=Ready nodes --all --timeout=120s >>"$STATE/logs/apply.log"
  wait_for 300 "the default service account" kube get serviceaccount default
  in_ns net rktool wait --timeout 60s "http://$CONTROL_IP:8181/ready"
  # The whole way of a Service address, as clients of `exec` go it.
  in_ns net rktool wait --ca "$STATE/pki/ca.crt" --timeout 60s "https://$SERVICE_IP/readyz"
  touch "$STATE/ready"
  say "$NODES nodes ready"
}

rktool_wait() {
  rktool wait --ca "$STATE/pki/ca.crt" --timeout "${2:-120s}" "$1"
}

# wait_for TENTHS WHAT CMD…
wait_for() {
  local n=$1 what=$2
  shift 2
  for ((; n > 0; n--)); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.1
  done
  die "waited in vain for $what"
}
