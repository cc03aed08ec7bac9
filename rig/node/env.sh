# What up.sh, down.sh and node share. A node lives in a folder, NODE_DIR; nothing of it is elsewhere.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${NODE_DIR:-${TMPDIR:-/tmp}/bluegreen-node}
name=node
# Of the private network namespace alone: the host has neither these addresses nor a route to them.
node_ip=10.200.0.2 pod_cidr=10.244.0.0/16 service_cidr=10.96.0.0/16 service_api=10.96.0.1 dns_ip=10.96.0.10
api=https://$node_ip:6444
# Settings of the whole machine that kubelet changes. down.sh puts them back.
sysctls="vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes"

say() { printf 'node: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The programs: built once, see there.
programs() {
    local folders
    folders=$("$here/../../scripts/cluster-tools.sh" etcd kube node) || exit 1
    PATH=$(paste -sd: <<<"$folders"):$PATH:/usr/sbin:/sbin
    cni=$(tail -n 1 <<<"$folders")/cni
    pause=$(command -v pause)
}

# The process that holds the namespaces, as the host numbers it; nothing when the node is down.
holder() {
    local pid
    pid=$(cat "$dir/holder.pid" 2>/dev/null) && [ -n "$pid" ] && [ "$(readlink "/proc/$pid/exe" 2>/dev/null)" = "$(readlink -f "$pause")" ] &&
        echo "$pid" || true
}

# Runs a command on the node.
enter() { nsenter --target "$(holder)" --mount --net --pid -- "$@"; }

# start NAME COMMAND…: a server on the node, unless it runs.
start() {
    local it=$1
    shift
    if running "$it"; then return; fi
    # shellcheck disable=SC2016
    enter setsid --fork sh -c 'echo $$ >"$1"; log=$2; shift 2; exec "$@" >>"$log" 2>&1 </dev/null' \
        sh "$dir/run/$it.pid" "$dir/log/$it.log" "$@" </dev/null >/dev/null 2>&1
}

running() {
    local pid
    pid=$(cat "$dir/run/$1.pid" 2>/dev/null) && enter test -d "/proc/$pid" 2>/dev/null
}

# until WHAT COMMAND…: waits for the command to succeed, a minute or two at most.
until_it() {
    local what=$1 try
    shift
    for try in $(seq 1200); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    die "waited in vain until $what; the logs are in $dir/log"
}
