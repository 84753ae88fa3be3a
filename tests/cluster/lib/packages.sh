# Debian packages: installed where they must be part of the system, otherwise
# only unpacked into the cache.
# shellcheck shell=bash

apt_quiet() { apt-get -qq -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 "$@"; }

need_apt() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
    die "missing on this machine: $*. There is no apt-get here to bring it; install it by hand"
}

# install_packages PKG…: nothing may be removed for it (a runc that belongs to
# another engine stays). Lists may be stale, so a failure is tried again fresh.
install_packages() {
  need_apt "$@"
  export DEBIAN_FRONTEND=noninteractive
  apt_quiet install -y --no-remove --no-install-recommends "$@" >/dev/null 2>&1 && return
  apt_quiet update >/dev/null || true
  apt_quiet install -y --no-remove --no-install-recommends "$@" >/dev/null ||
    die "apt-get could not install: $*"
}

# unpack DIR PKG…
unpack() {
  local dir=$1 tmp deb
  shift
  need_apt "$@"
  tmp=$(mktemp -d)
  if ! (cd "$tmp" && apt_quiet download "$@" >/dev/null 2>&1); then
    apt_quiet update >/dev/null || true
    (cd "$tmp" && apt_quiet download "$@" >/dev/null) || die "apt-get could not download: $*"
  fi
  for deb in "$tmp"/*.deb; do dpkg -x "$deb" "$dir"; done
  rm -rf "$tmp"
}
