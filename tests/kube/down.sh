#!/usr/bin/env bash
# Stops what up.sh started in the same --dir, by its pid files, and removes the state (--keep leaves it).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck source=tests/kube/lib.sh
. "$here/lib.sh"

keep=0
while [ $# -gt 0 ]; do
  case "$1" in
    --dir) dir="$2"; shift 2 ;;
    --keep) keep=1; shift ;;
    *) die "unknown argument: $1" ;;
  esac
done

for name in kube-apiserver etcd; do
  running "$name" || continue
  kill "$(cat "$dir/$name.pid")" 2>/dev/null || true
  for _ in $(seq 100); do
    running "$name" || break
    sleep 0.1
  done
  if running "$name"; then kill -9 "$(cat "$dir/$name.pid")" 2>/dev/null || true; fi
done
if [ "$keep" = 0 ] && [ -f "$dir/$marker" ]; then rm -rf "$dir"; fi
log "down: $dir"
