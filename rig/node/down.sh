#!/usr/bin/env bash
# Ends a node: one process, and every other of it, its pods, mounts and network go with that one. `down.sh --purge` removes its folder too.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=env.sh
. "$(dirname "$(readlink -f "$0")")/env.sh"
programs
pid=$(holder)
if [ -n "$pid" ]; then
    kill -KILL "$pid"
    gone() { [ ! -d "/proc/$pid" ]; }
    until_it "the node was gone" gone
fi
rm -f "$dir/holder.pid"
for groups in /sys/fs/cgroup/kubepods /sys/fs/cgroup/*/kubepods; do
    # Pods that were killed a moment ago may still be counted.
    empty() { [ ! -d "$groups" ] || find "$groups" -depth -type d -exec rmdir {} +; }
    until_it "the pods' control groups were empty" empty
done
if [ -f "$dir/sysctl.saved" ]; then
    while read -r it value; do echo "$value" 2>/dev/null >"/proc/sys/$it" || true; done <"$dir/sysctl.saved"
    rm -f "$dir/sysctl.saved"
fi
[ "${1:-}" != --purge ] || rm -rf "$dir"
