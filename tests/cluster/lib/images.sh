# Images of a cluster: archives kept in its state, imported into each node.
# shellcheck shell=bash

# import_missing NODEDIR (run inside the node): what is not marked as imported.
# A node that was off while images were loaded catches up here.
import_missing() {
  local archive mark
  mkdir -p "$1/images"
  for archive in "$STATE"/images/*.tar; do
    [[ -e $archive ]] || continue
    mark=$1/images/$(basename "$archive" .tar)
    [[ ! -e $mark ]] || continue
    ctr -n k8s.io images import --local "$archive" >>"$1/import.log" 2>&1 || return 1
    touch "$mark"
  done
}

# keep_image FILE: a copy in the state under the sum of its content.
keep_image() {
  local sum
  [[ -f $1 ]] || die "no image archive $1"
  sum=$(sha256sum "$1" | cut -c1-16)
  [[ -e $STATE/images/$sum.tar ]] && return
  cp --reflink=auto "$1" "$STATE/images/.$sum.tmp"
  mv "$STATE/images/.$sum.tmp" "$STATE/images/$sum.tar"
}

# The images every cluster needs, made once per build of the tools.
base_images() {
  local dir=$BIN/images stage
  [[ -e $dir/done ]] && return
  rm -rf "$dir"
  mkdir -p "$dir"
  stage=$(mktemp -d "$dir/.stage-XXXX")
  rktool image redkite.test/pause:1 "$dir/pause.tar" --add "$BIN/rktool=/pause" --entrypoint /pause --cmd pause
  mkdir -p "$stage/tmp" "$stage/etc"
  chmod 1777 "$stage/tmp"
  echo 'root:x:0:0:root:/:/bin/sh' >"$stage/etc/passwd"
  local links=() applet
  for applet in sh ash cat ls mkdir rm cp mv echo printf sleep env id ps grep sed head tail wc find stat chmod chown \
    touch date hostname nslookup ping nc vi tar df du mount umount test true false kill top free sync dd; do
    links+=(--link "/bin/$applet=busybox")
  done
  rktool image redkite.test/busybox:1 "$dir/busybox.tar" --layer "$stage" \
    --add "$BIN/busybox=/bin/busybox" --add "$BIN/rktool=/bin/rktool" "${links[@]}" --cmd /bin/sh
  rm -rf "$stage"
  touch "$dir/done"
}
