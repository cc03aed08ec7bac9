#!/usr/bin/env bash
# Builds the programs of a real cluster from Go modules, once, into a cache folder outside of the checkout, and prints the folder
# that each tool's programs are in, one a line, in the order in which they were asked for.
#
#   scripts/cluster-tools.sh                  what the tests of a cluster need: etcd kube kwok helm argocd argocd-install kstatus kustomize registry
#   scripts/cluster-tools.sh etcd kube        these alone
#   PATH=$(scripts/cluster-tools.sh etcd kube | paste -sd:):$PATH
#
# | tool    | programs                                                                        | cold, 2 cores |
# | etcd    | etcd                                                                            | 15 s          |
# | kube    | kube-apiserver kube-controller-manager kubectl kube-scheduler                   | 10 min        |
# | kwok    | kwok, and stages/ for nodes and pods                                            | 4 min         |
# | helm    | helm                                                                            | 3 min         |
# | argocd  | argocd                                                                          | 10 min        |
# | argocd-install | install.yaml of the same version: definitions, roles, settings           | 1 s           |
# | kustomize | kustomize                                                                     | 30 s          |
# | kstatus | kstatus: what Flux and Helm make of an object                                   | 15 s          |
# | registry | registry, and oras, which pushes to it                                         | 6 min         |
# | traefik | traefik, and crd/ and rbac.yaml of the Gateway API                              | 4 min         |
# | node    | kubelet kube-proxy containerd containerd-shim-runc-v2 ctr coredns pause, cni/…  | 10 min        |
#
# What is built is fixed by the files in rig/cluster/TOOL, and the folder is named by their hash. KUBEBUILDER_ASSETS, where it is set,
# gives etcd, kube-apiserver and kubectl instead.
set -euo pipefail
# To be counted up with every change of how something is built.
recipe=1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/rig/cluster
cache=${XDG_CACHE_HOME:-$HOME/.cache}/bluegreen

say() { printf 'cluster-tools: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The folders under rig/cluster that a tool's programs come from.
modules() {
    case $1 in
    etcd | kube) echo kube ;;
    node) echo kube containerd cni coredns pause ;;
    argocd-install) echo argocd ;;
    kwok | helm | argocd | kstatus | kustomize | registry | traefik) echo "$1" ;;
    *) die "there is no tool '$1'. The tools: etcd kube kwok helm argocd argocd-install kstatus kustomize registry traefik node" ;;
    esac
}

# The folder of a tool: another one for anything else that would be built.
folder() {
    local tool=$1 assets= modules hash
    case $tool in etcd | kube) assets=${KUBEBUILDER_ASSETS:-} ;; esac
    modules=$(modules "$tool")
    # shellcheck disable=SC2086
    hash=$(cd "$here" && { find $modules -type f | LC_ALL=C sort | xargs cat && echo "$recipe $assets" && uname -m; } | sha256sum)
    echo "$cache/cluster-${hash:0:16}/$tool"
}

the_go() {
    [ -x "$(command -v go)" ] || PATH=$PATH:/usr/local/go/bin
    command -v go >/dev/null || die "there is no Go to build with: run scripts/setup.sh cluster"
}

# program MODULE PACKAGE NAME [go build's flags…]: builds it into $bin, unless it is there.
program() {
    local module=$1 package=$2 name=$3
    shift 3
    [ ! -x "$bin/$name" ] || return 0
    case $name in etcd | kube-apiserver | kubectl)
        if [ -x "${KUBEBUILDER_ASSETS:-}/$name" ]; then
            ln -sf "$KUBEBUILDER_ASSETS/$name" "$bin/$name"
            return
        fi
        ;;
    esac
    the_go
    say "building $name (once)"
    # Renamed when it is whole: whoever sees it may start it.
    (cd "$here/$module" && CGO_ENABLED=0 nice -n 10 go build -mod=readonly -buildvcs=false -trimpath "$@" -o "$bin/$name.$$" "$package") >&2 ||
        die "$name could not be built: see above. It comes from rig/cluster/$module"
    mv "$bin/$name.$$" "$bin/$name"
}

# Where the source of a required module is; fetched and checked first where it isn't.
source_of() { (cd "$here/$1" && go mod download "$2" >&2 && go list -mod=readonly -m -f '{{.Dir}}' "$2"); }

# The version that a module is required at.
version() { awk -v module="$2" '$1 == module || $2 == module { sub(/^require /, ""); print $2; exit }' "$here/$1/go.mod"; }

kubernetes() { # kubernetes PROGRAM…
    local version minor it
    version=$(version kube k8s.io/kubernetes)
    minor=${version#v1.}
    minor=${minor%%.*}
    local set="-X k8s.io/component-base/version"
    local flags="-s -w $set.gitVersion=$version $set.gitMajor=1 $set.gitMinor=$minor -X k8s.io/client-go/pkg/version.gitVersion=$version"
    for it in "$@"; do program kube "k8s.io/kubernetes/cmd/$it" "$it" -ldflags "$flags"; done
}

build_etcd() { program kube go.etcd.io/etcd/server/v3 etcd -ldflags '-s -w'; }

build_kube() { kubernetes kube-apiserver kube-controller-manager kubectl kube-scheduler; }

build_kwok() {
    local version module
    version=$(version kwok sigs.k8s.io/kwok)
    program kwok sigs.k8s.io/kwok/cmd/kwok kwok -ldflags "-s -w -X sigs.k8s.io/kwok/pkg/consts.Version=$version"
    # What kwok plays is said by stages that its module carries; for pods we have our own, which a test can steer.
    the_go
    module=$(cd "$here/kwok" && go list -mod=readonly -m -f '{{.Dir}}' sigs.k8s.io/kwok)
    mkdir -p "$bin/stages"
    install -m 644 "$module"/kustomize/stage/node/fast/node-initialize.yaml "$bin/stages/"
    install -m 644 "$module"/kustomize/stage/node/heartbeat-with-lease/node-heartbeat-with-lease.yaml "$bin/stages/"
    install -m 644 "$module"/kustomize/stage/pod/fast/pod-complete.yaml "$bin/stages/"
    install -m 644 "$module"/kustomize/stage/pod/fast/pod-delete.yaml "$bin/stages/"
    install -m 644 "$here"/kwok/stages/*.yaml "$bin/stages/"
}

build_helm() {
    local it
    it=helm.sh/helm/v4/internal/version
    program helm helm.sh/helm/v4/cmd/helm helm -ldflags "-s -w -X $it.version=$(version helm helm.sh/helm/v4)"
}

build_argocd() { program argocd github.com/argoproj/argo-cd/v3/cmd argocd -ldflags '-s -w'; }

build_argocd-install() {
    the_go
    install -m 644 "$(source_of argocd github.com/argoproj/argo-cd/v3)/manifests/install.yaml" "$bin/"
}

build_kstatus() { program kstatus . kstatus -ldflags '-s -w'; }

build_kustomize() { program kustomize sigs.k8s.io/kustomize/kustomize/v5 kustomize -ldflags '-s -w'; }

build_registry() {
    program registry github.com/distribution/distribution/v3/cmd/registry registry -ldflags '-s -w'
    program registry oras.land/oras/cmd/oras oras -ldflags '-s -w'
}

build_traefik() {
    local work lego api module it=github.com/traefik/traefik/v3
    the_go
    work=$bin/.source
    rm -rf "$work"
    mkdir "$work"
    lego=$(source_of traefik github.com/go-acme/lego/v5)
    api=$(source_of traefik sigs.k8s.io/gateway-api)
    module=$(source_of traefik "$it")
    # lego, which asks for certificates, with no DNS provider: they pull in 190 companies' libraries, and some cannot be had from every proxy.
    cp -r "$lego" "$work/lego"
    chmod -R u+w "$work/lego"
    rm "$work"/lego/providers/dns/*.go
    install -m 644 "$here/traefik/lego/providers.go" "$work/lego/providers/dns/"
    install -m 644 "$here/traefik/lego/go.mod" "$work/lego/"
    install -m 644 "$here"/traefik/go.{mod,sum} "$work/"
    go mod edit -replace "github.com/go-acme/lego/v5=$work/lego" "$work/go.mod"
    program traefik "$it/cmd/traefik" traefik -modfile "$work/go.mod" \
        -ldflags "-s -w -X $it/pkg/version.Version=$(version traefik "$it")"
    rm -rf "$work"
    mkdir -p "$bin/crd"
    install -m 644 "$api"/config/crd/standard/*.yaml "$bin/crd/"
    install -m 644 "$module/docs/content/reference/dynamic-configuration/kubernetes-gateway-rbac.yml" "$bin/rbac.yaml"
}

build_node() {
    local it
    kubernetes kubelet kube-proxy
    it=github.com/containerd/containerd/v2
    for name in containerd containerd-shim-runc-v2 ctr; do
        program containerd "$it/cmd/$name" "$name" -ldflags "-s -w -X $it/version.Version=$(version containerd $it)" \
            -tags 'no_btrfs no_zfs no_devmapper no_aufs no_tracing no_gateway netgo osusergo static_build'
    done
    mkdir -p "$bin/cni"
    for name in main/bridge main/loopback ipam/host-local meta/portmap; do
        program cni "github.com/containernetworking/plugins/plugins/$name" "cni/${name#*/}" -ldflags '-s -w'
    done
    program coredns . coredns -ldflags '-s -w'
    program pause . pause -ldflags '-s -w'
}

[ $# -gt 0 ] || set -- etcd kube kwok helm argocd argocd-install kstatus kustomize registry
mkdir -p "$cache"
for tool in "$@"; do
    bin=$(folder "$tool")
    if [ ! -e "$bin/.complete" ]; then
        mkdir -p "$bin"
        # Two runs at once build it once: the second waits here, and finds it built.
        exec 9>"$bin/.lock"
        flock 9
        if [ ! -e "$bin/.complete" ]; then
            "build_$tool"
            touch "$bin/.complete"
        fi
        exec 9>&-
    fi
    echo "$bin"
done
