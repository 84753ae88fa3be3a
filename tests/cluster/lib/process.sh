# Programs that outlive the script: how they are started, known and ended.
# shellcheck shell=bash

# A process id alone may name a stranger later on; with its start time it cannot.
start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=${stat##*) } # the command's name may hold spaces and brackets
  # shellcheck disable=SC2086
  set -- $stat
  [[ $1 != Z ]] || return 1
  printf '%s' "${20}"
}

# spawn ROLE LOG CMD…: detached from this shell, recorded under pids/ROLE.
spawn() {
  local role=$1 log=$2 pid
  shift 2
  setsid "$@" >>"$log" 2>&1 </dev/null 9>&- &
  pid=$!
  record "$role" "$pid"
}

record() {
  local start
  start=$(start_time "$2") || die "$1 ended at once"
  echo "$2 $start" >"$STATE/pids/$1"
}

# Prints the process id of a role if that very process still runs.
role_pid() {
  local pid start
  [[ -f $STATE/pids/$1 ]] || return 1
  read -r pid start <"$STATE/pids/$1" || return 1
  [[ $(start_time "$pid") == "$start" ]] || return 1
  echo "$pid"
}

# The first process inside a namespace set: the child of the recorded `unshare`.
role_init() {
  local pid child
  pid=$(role_pid "$1") || return 1
  # The file has no line end, which `read` takes for a failure.
  read -r child _ <"/proc/$pid/task/$pid/children" || true
  [[ -n ${child:-} ]] && echo "$child"
}

# Ends roles the way a power cut does, and waits until they are gone.
kill_roles() {
  local role pid init waiting=()
  for role in "$@"; do
    pid=$(role_pid "$role") || continue
    init=$(role_init "$role") || init=''
    kill -KILL "$pid" 2>/dev/null || true
    waiting+=("$pid" ${init:+"$init"})
  done
  for pid in "${waiting[@]}"; do
    for _ in {1..200}; do
      start_time "$pid" >/dev/null || break
      sleep 0.05
    done
  done
  for role in "$@"; do rm -f "$STATE/pids/$role"; done
}

# Processes inside a network namespace, found by the namespace itself: no
# process of anybody else can be in there.
netns_pids() {
  local inode
  inode=$(stat -Lc %i "/run/netns/$1" 2>/dev/null) || return 0
  # Processes end while find looks at them; that is no failure.
  { find /proc/[0-9]*/ns/net -maxdepth 0 -lname "net:\\[$inode\\]" 2>/dev/null || true; } | cut -d/ -f3
}
