# shellcheck shell=bash
# What the demo and the cluster tests do with a cluster. Sourced after env.sh.

NAMESPACE=${NAMESPACE:-redkite-demo}
OPERATOR_NAMESPACE=${OPERATOR_NAMESPACE:-redkite-operator}
RELEASE_NAME=${RELEASE_NAME:-my-release}
SAMPLE=${SAMPLE:-$ROOT/config/samples/milvus_minimum.yaml}
CLUSTER_SCRIPTS=$ROOT/tests/cluster

# refresh_package_lists: the demo's texts are this machine's package lists; a fresh machine may have none yet.
refresh_package_lists() {
  have apt-cache || return 0
  [ "$(apt-cache dumpavail 2>/dev/null | grep -c '^Package:')" -ge 10000 ] && return 0
  if [ "$(id -u)" -eq 0 ]; then quietly "package lists" apt-get update -qq; fi
}

# cluster_up NAME: sets KUBECONFIG to a new cluster of this machine, or to the existing one that CLUSTER names.
cluster_up() {
  local line
  if [ -n "${CLUSTER:-}" ]; then
    line=$("$CLUSTER_SCRIPTS/existing" up --name "$1" | tee >(cat >&2) | tail -n 1)
  else
    "$CLUSTER_SCRIPTS/build"
    line=$("$CLUSTER_SCRIPTS/up" --name "$1" | tee >(cat >&2) | tail -n 1)
  fi
  case $line in
    KUBECONFIG=*) export KUBECONFIG=${line#KUBECONFIG=} ;;
    *) die "the cluster did not say where its kubeconfig is" ;;
  esac
}

cluster_down() {
  if [ -n "${CLUSTER:-}" ]; then
    "$CLUSTER_SCRIPTS/existing" down --name "$1"
  else
    "$CLUSTER_SCRIPTS/down" --name "$1"
  fi
}

# bring_images NAME: makes the images and brings them to the cluster.
bring_images() {
  if [ -n "${CLUSTER:-}" ]; then
    "$ROOT/scripts/images"
    "$CLUSTER_SCRIPTS/existing" load --name "$1" "$REDKITE_CACHE/images/${TAG:-dev}"/redkite-{engine,operator,etcd,s3}.tar
  else
    "$ROOT/scripts/images" --name "$1"
  fi
}

# image_of NAME: how the cluster calls an image of ours.
image_of() { echo "${IMAGE_REGISTRY:-localhost}/$1:dev"; }

# install_operator [HELM FLAG…]: installs or upgrades the operator and waits until it runs.
install_operator() {
  local operator engine
  operator=$(image_of redkite-operator)
  engine=$(image_of redkite-engine)
  helm upgrade --install redkite-operator "$ROOT/charts/redkite-operator" --namespace "$OPERATOR_NAMESPACE" --create-namespace \
    --set "image.repository=${operator%:*}" --set "image.tag=${operator##*:}" --set "image.pullPolicy=IfNotPresent" \
    --set "engine.image.repository=${engine%:*}" --set "engine.image.tag=${engine##*:}" \
    --set "stores.etcdImage=$(image_of redkite-etcd)" --set "stores.storageImage=$(image_of redkite-s3)" "$@" >/dev/null
  kubectl -n "$OPERATOR_NAMESPACE" rollout status deployment --timeout=120s
}

# await_ready NAME SECONDS: until the Milvus object is Ready at its present generation, saying what it waits for.
await_ready() {
  local name=$1 limit=$2 begin=$SECONDS state last=''
  while :; do
    state=$(kubectl -n "$NAMESPACE" get milvus "$name" -o json | jq -r '
      (.metadata.generation) as $wanted
      | [.status.conditions[]? | select(.type == "MilvusReady" or .type == "Ready")] | last
      | if . == null then "not seen by the operator yet"
        elif .status == "True" and ((.observedGeneration // $wanted) == $wanted) then "Ready"
        else "\(.reason): \(.message)" end')
    if [ "$state" != "$last" ]; then
      printf '    %3ds %s\n' $((SECONDS - begin)) "$state"
      last=$state
    fi
    [ "$state" != Ready ] || return 0
    if [ $((SECONDS - begin)) -ge "$limit" ]; then
      kubectl -n "$NAMESPACE" get pods,events >&2 || true
      die "milvus/$name is not Ready after $limit s: $state"
    fi
    sleep 1
  done
}

# forward_start FOLDER PORT: forwards the port (another, if it is taken) to the Milvus service; sets FORWARD_PORT.
forward_start() {
  local folder=$1
  FORWARD_PORT=$2
  forward_stop "$folder"
  if (exec 3<>"/dev/tcp/127.0.0.1/$FORWARD_PORT") 2>/dev/null; then FORWARD_PORT=$(free_port); fi
  setsid kubectl -n "$NAMESPACE" port-forward "service/$RELEASE_NAME-milvus" "$FORWARD_PORT:19530" >"$folder/forward.log" 2>&1 </dev/null &
  echo $! >"$folder/forward.pid"
  wait_for "the port forward" 30 bash -c "exec 3<>/dev/tcp/127.0.0.1/$FORWARD_PORT"
}

forward_stop() {
  local pid
  [ -f "$1/forward.pid" ] || return 0
  pid=$(cat "$1/forward.pid")
  # Only if the number still belongs to what was started.
  if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q port-forward; then kill "$pid" || true; fi
  rm -f "$1/forward.pid"
}
