# shellcheck shell=bash
# What the scripts of this folder begin with: a cluster of a name of its own, gone afterwards, also after a failure. Sourced first.

source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/env.sh"
source "$ROOT/scripts/kube.sh"

# Programs beside the cluster, which end before it does.
BESIDE=()
# Folders that go at the end.
TEMPORARY=()

# own_cluster PREFIX: sets NAME, and KUBECONFIG to the cluster (the existing one that CLUSTER names).
own_cluster() {
  NAME=$1-$$
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  cluster_up "$NAME"
  PYTHON=$(venv pymilvus-3.0 "$ROOT/tests/clients/requirements-3.0.txt")/bin/python
}

finish() {
  local status=$? pid
  trap - EXIT
  if [ "$status" -ne 0 ] && [ -n "${KUBECONFIG:-}" ]; then
    kubectl -n "$OPERATOR_NAMESPACE" logs deployment/redkite-operator --tail=40 >&2 || true
  fi
  for pid in "${BESIDE[@]}"; do kill "$pid" 2>/dev/null || true; done
  if [ "${KEEP:-}" = 1 ]; then
    warn "kept (KEEP=1): KUBECONFIG=${KUBECONFIG:-none}; remove it by tests/cluster/down --name $NAME"
  else
    cluster_down "$NAME" || warn "the cluster $NAME was not removed"
  fi
  [ ${#TEMPORARY[@]} -eq 0 ] || rm -rf "${TEMPORARY[@]}"
  exit "$status"
}
