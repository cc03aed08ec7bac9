#!/usr/bin/env bash
# Starts a real Kubernetes node with its control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, containerd, kubelet
# and kube-proxy, in one private mount, network and PID namespace. Returns when the node is ready; does nothing where it already is.
# Needs root. The machine keeps its network, its firewall and its /var: down.sh ends one process, and everything is gone with it.
#
#   NODE_DIR=…         where it lives
#   PROXY_MODE=…       nftables (default) or iptables
#   DNS=1              CoreDNS as well
#   rig/node/node kubectl get pods; rig/node/node import image.tar; rig/node/down.sh
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=env.sh
. "$(dirname "$(readlink -f "$0")")/env.sh"
[ "$(id -u)" -eq 0 ] || die "a node needs root"
programs
pki=$dir/pki
mkdir -p "$dir"/{run,log,pki,etcd,containerd,kubelet,pod-logs,cni/net.d,cni/ipam,over/etc,over/etc.work,over/var,over/var.work}

# 1. The namespaces. Whoever kills their first process ends everything in them.
if [ -z "$(holder)" ]; then
    rm -rf "$dir"/run/* "$dir"/cni/ipam/* "$dir/containerd/state"
    for it in $sysctls; do [ ! -r "/proc/sys/$it" ] || echo "$it $(cat "/proc/sys/$it")"; done >"$dir/sysctl.saved"
    setsid unshare --mount --net --pid --fork --kill-child --mount-proc --propagation slave "$pause" >/dev/null 2>&1 </dev/null &
    unshare=$!
    disown
    held() {
        tr -d ' ' <"/proc/$unshare/task/$unshare/children" >"$dir/holder.pid"
        [ -n "$(holder)" ]
    }
    until_it "the namespaces were there" held
    # shellcheck disable=SC2016
    enter bash -euc '
        mount --make-rshared /
        mount -t overlay -o "lowerdir=/etc,upperdir=$1/over/etc,workdir=$1/over/etc.work" etc /etc
        mount -t overlay -o "lowerdir=/var,upperdir=$1/over/var,workdir=$1/over/var.work" var /var
        mount -t tmpfs run /run
        mkdir -p /run/lock
        ip link set lo up
        # An interface to have an address on: nothing leaves by it.
        ip link add node0 type bridge
        ip address add "$2/30" dev node0
        ip link set node0 up
        # The address of a Service has to have a route, before it becomes that of a pod.
        ip route add default dev node0
        echo 1 >/proc/sys/net/ipv4/ip_forward
        echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
        printf "nameserver %s\n" "$3" >"$1/resolv.conf"' bash "$dir" "$node_ip" "$dns_ip"
fi

# 2. Keys, tokens, kubeconfigs: made once.
if [ ! -e "$pki/complete" ]; then (
    cd "$pki"
    new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
    openssl req -x509 "${new_key[@]}" -days 3650 -subj /CN=node-ca -keyout ca.key -out ca.crt 2>/dev/null
    certificate() { # certificate NAME SUBJECT NAMES
        openssl req "${new_key[@]}" -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
        openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" \
            -extfile <(echo "subjectAltName=$3") 2>/dev/null
    }
    certificate apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$node_ip,IP:$service_api"
    certificate kubelet-client /O=system:masters/CN=apiserver-kubelet-client DNS:kubelet-client
    certificate kubelet "/O=system:nodes/CN=system:node:$name" "DNS:$name,IP:$node_ip"
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out sa.key
    openssl pkey -in sa.key -pubout -out sa.pub
    : >tokens.csv
    user() { # user USERNAME GROUP FILE
        local token
        token=$(openssl rand -hex 16)
        echo "$token,$1,$1,\"$2\"" >>tokens.csv
        cat >"$3" <<YAML
apiVersion: v1
kind: Config
current-context: node
clusters: [{ name: node, cluster: { server: "$api", certificate-authority-data: $(base64 -w0 ca.crt) } }]
users: [{ name: "$1", user: { token: $token } }]
contexts: [{ name: node, context: { cluster: node, user: "$1" } }]
YAML
    }
    umask 077
    user admin system:masters "$dir/kubeconfig"
    user system:kube-controller-manager "" controllers.conf
    user system:kube-scheduler "" scheduler.conf
    user system:kube-proxy "" proxy.conf
    user "system:node:$name" system:nodes kubelet.conf
    touch complete
); fi

# 3. What the node's programs are told.
cat >"$dir/containerd.toml" <<TOML
version = 3
root = "$dir/containerd/root"
state = "$dir/containerd/state"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "$dir/run/containerd.sock"
[ttrpc]
  address = "$dir/run/containerd.sock.ttrpc"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "registry.local/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  # Not every machine lets root do this: see CAP_SYS_RESOURCE, and cgroup v1 without hugetlb.
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["$cni"]
    conf_dir = "$dir/cni/net.d"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = false
TOML
cat >"$dir/cni/net.d/10-node.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "node", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$dir/cni/ipam", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
enforceNodeAllocatable: [pods]
containerRuntimeEndpoint: unix://$dir/run/containerd.sock
authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: $pki/ca.crt } }
authorization: { mode: Webhook }
tlsCertFile: $pki/kubelet.crt
tlsPrivateKeyFile: $pki/kubelet.key
podLogsDir: $dir/pod-logs
resolvConf: $dir/resolv.conf
clusterDomain: cluster.local
clusterDNS: [$dns_ip]
oomScoreAdj: 0
maxOpenFiles: 20000
imageGCHighThresholdPercent: 100
evictionHard: { memory.available: "0%", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", imagefs.inodesFree: "0%" }
YAML
cat >"$dir/proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: ${PROXY_MODE:-nftables}
hostnameOverride: $name
clusterCIDR: $pod_cidr
detectLocalMode: ClusterCIDR
clientConnection: { kubeconfig: $pki/proxy.conf }
conntrack: { maxPerCore: 0, min: 0 }
YAML

# 4. The control plane.
etcd=http://127.0.0.1:2379 peer=http://127.0.0.1:2380
start etcd etcd --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn --listen-client-urls $etcd --advertise-client-urls $etcd \
    --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster default=$peer
start containerd containerd --config "$dir/containerd.toml"
start kube-apiserver kube-apiserver --etcd-servers=$etcd --bind-address=0.0.0.0 --secure-port=6444 --advertise-address=$node_ip \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local --service-account-key-file="$pki/sa.pub" \
    --service-account-signing-key-file="$pki/sa.key" --token-auth-file="$pki/tokens.csv" --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction --kubelet-client-certificate="$pki/kubelet-client.crt" \
    --kubelet-client-key="$pki/kubelet-client.key" --kubelet-certificate-authority="$pki/ca.crt" \
    --kubelet-preferred-address-types=InternalIP --service-cluster-ip-range=$service_cidr --profiling=false
k() { enter env KUBECONFIG="$dir/kubeconfig" KUBECACHEDIR="$dir/kubectl-cache" kubectl "$@"; }
until_it "the API server was ready" k get --raw /readyz
start kube-controller-manager kube-controller-manager --kubeconfig="$pki/controllers.conf" --use-service-account-credentials=true \
    --leader-elect=false --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" --secure-port=0
start kube-scheduler kube-scheduler --kubeconfig="$pki/scheduler.conf" --leader-elect=false --secure-port=0
until_it "containerd answered" enter ctr --address "$dir/run/containerd.sock" version
"$here/image.sh" "$dir/pause.tar" registry.local/pause:1 "$pause"
"$here/node" import "$dir/pause.tar"

# 5. The node.
start kubelet kubelet --config="$dir/kubelet.yaml" --kubeconfig="$pki/kubelet.conf" --root-dir="$dir/kubelet" --hostname-override=$name \
    --node-ip=$node_ip
start kube-proxy kube-proxy --config="$dir/proxy.yaml"
until_it "the node had said that it is there" k get node $name
k wait --for=condition=Ready node/$name --timeout=120s >/dev/null || die "the node is not ready; the logs are in $dir/log"
until_it "pods could have an account" k get serviceaccount default --namespace default
if [ "${DNS:-}" = 1 ]; then
    "$here/image.sh" "$dir/coredns.tar" registry.local/coredns:1 "$(command -v coredns)"
    "$here/node" import "$dir/coredns.tar"
    k apply --filename "$here/coredns.yaml" >/dev/null
    k --namespace kube-system rollout status deployment/coredns --timeout=120s >/dev/null || die "DNS is not ready"
fi
