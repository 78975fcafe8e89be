# Shared by up.sh and down.sh: where a rig lives, and whether its programs run.
# shellcheck shell=bash

dir="${KUBE_RIG_DIR:-${TMPDIR:-/tmp}/strongroom-kube}"
marker=.strongroom-kube-rig

log() { echo "kube-rig: $*" >&2; }
die() {
  log "$*"
  exit 1
}

# Whether the pid file of a program names a process that still is that program.
running() {
  local pid
  [ -f "$dir/$1.pid" ] || return 1
  pid="$(cat "$dir/$1.pid")"
  [ "$(basename "$(readlink "/proc/$pid/exe" 2>/dev/null || true)")" = "$1" ]
}
