# Paths, words and checks that every script of the test cluster starts with.
# shellcheck shell=bash
# shellcheck disable=SC2034 # most words here are for the scripts that source this file

CLUSTER_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${REDKITE_CACHE:-$HOME/.cache/redkite}
BIN=$CACHE/cluster-bin
CLUSTERS=$CACHE/clusters

# iptables, runc and ip live where an ordinary user's PATH does not look.
PATH=$BIN:/usr/local/sbin:/usr/sbin:/sbin:$PATH
export PATH

# Addresses. They are the same in every cluster: each is alone in its namespaces.
CONTROL_IP=10.250.0.1
NODE_PREFIX=10.250.0.1 # node I has 10.250.0.1I
POD_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
SERVICE_IP=10.96.0.1
DNS_IP=10.96.0.10

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

node_ip() { printf '%s%s' "$NODE_PREFIX" "$1"; }

# A cluster's name becomes part of paths, so it is kept plain.
use_name() {
  [[ $1 =~ ^[a-z0-9][a-z0-9-]{0,30}$ ]] || die "'$1' is no cluster name: small letters, digits and '-' only"
  NAME=$1
  STATE=$CLUSTERS/$NAME
}

# Reads --name NAME (or --name=NAME) from the front of the arguments and leaves
# the rest in ARGS.
parse_name() {
  local name=${NAME:-demo}
  while (($#)); do
    case $1 in
      --name) name=${2:?--name needs a value}; shift 2 ;;
      --name=*) name=${1#--name=}; shift ;;
      --) shift; break ;;
      *) break ;;
    esac
  done
  use_name "$name"
  # ARGS is read by the scripts that source this file.
  # shellcheck disable=SC2034
  ARGS=("$@")
}

# Loads what `up` wrote down about the cluster: RID, NODES, ZONES.
load_state() {
  [[ -f $STATE/env ]] || die "there is no cluster '$NAME' ($STATE); bring it up with tests/cluster/up --name $NAME"
  # shellcheck disable=SC1091
  . "$STATE/env"
}

need_root() {
  [[ $(uname -s) == Linux ]] || die "the test cluster needs Linux (this is $(uname -s))"
  ((EUID == 0)) || die "the test cluster needs root: it makes network namespaces, mounts and cgroups"
}

# One writer at a time. The lock goes with the shell: `spawn` closes it for
# programs that stay.
lock() {
  mkdir -p "$(dirname "$1")"
  while :; do
    exec 9>"$1"
    flock 9
    # Whoever held it before may have deleted the file.
    [[ ! /proc/self/fd/9 -ef $1 ]] || break
  done
}
