# A control group per node, in every hierarchy of cgroup v1 or in the one of v2.
# shellcheck shell=bash

cgroup_root() { printf 'rk-%s-n%s' "$RID" "$1"; }

cgroup_version() {
  if [[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]]; then echo 2; else echo 1; fi
}

cgroup_up() {
  local dir group
  group=$(cgroup_root "$1")
  if [[ $(cgroup_version) == 2 ]]; then
    local c
    for c in cpu cpuset memory pids io hugetlb; do
      echo "+$c" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
    done
    mkdir -p "/sys/fs/cgroup/$group"
    return
  fi
  for dir in /sys/fs/cgroup/*/; do
    dir=${dir%/}
    # Only v1 hierarchies have `tasks`; links (cpu -> cpu,cpuacct) come up again
    # under their real name.
    [[ ! -L $dir ]] || continue
    [[ -e $dir/tasks ]] || continue
    mkdir -p "$dir/$group"
    if [[ -e $dir/cpuset.cpus ]]; then
      # A new cpuset is empty, and nothing can be put into an empty one.
      cat "$dir/cpuset.cpus" >"$dir/$group/cpuset.cpus"
      cat "$dir/cpuset.mems" >"$dir/$group/cpuset.mems"
    fi
  done
}

# cgroup_down PATTERN: removes groups of dead nodes. They may stay busy for a
# moment after their last process was killed.
cgroup_down() {
  local left dir
  for _ in {1..60}; do
    left=$(find /sys/fs/cgroup -maxdepth 2 -type d -name "$1" 2>/dev/null || true)
    [[ -n $left ]] || return 0
    while read -r dir; do
      find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done <<<"$left"
    [[ ! -d ${left%%$'\n'*} ]] || sleep 0.1
  done
  return 1
}
