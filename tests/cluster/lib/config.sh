# Configuration files of one cluster, written when it comes up.
# shellcheck shell=bash

write_control_config() {
  mkdir -p "$STATE/etc"
  : >"$STATE/etc/empty"
  cat >"$STATE/resolv.conf" <<END
nameserver $CONTROL_IP
search default.svc.cluster.local svc.cluster.local cluster.local
options ndots:5 timeout:2
END
  # Names outside the cluster do not exist here, and saying so at once keeps
  # clients from trying for seconds. `outside.test` is the control plane's
  # address: there programs run with tests/cluster/exec are found by pods.
  cat >"$STATE/etc/Corefile" <<END
cluster.local in-addr.arpa ip6.arpa {
  errors
  ready $CONTROL_IP:8181
  prometheus $CONTROL_IP:9153
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig $STATE/pki/admin.conf $NAME
    pods insecure
    fallthrough in-addr.arpa ip6.arpa
    ttl 5
  }
  cache 5
}
outside.test {
  errors
  hosts {
    $CONTROL_IP outside.test
  }
}
. {
  errors
  template ANY ANY {
    rcode NXDOMAIN
  }
}
END
  # Who wrote what: what programs in pods do, without the cluster's own.
  cat >"$STATE/etc/audit.yaml" <<END
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted, Panic]
rules:
- level: None
  userGroups: [system:serviceaccounts:kube-system]
- level: Metadata
  userGroups: [system:serviceaccounts]
  verbs: [create, update, patch, delete, deletecollection]
- level: None
END
  write_proxy_config "$STATE/etc/proxy.yaml" n1 "$CONTROL_IP"
  local i paths=''
  for ((i = 1; i <= NODES; i++)); do
    paths+="${paths:+,}{\"node\":\"n$i\",\"paths\":[\"$STATE/nodes/n$i/volumes\"]}"
  done
  echo "{\"nodePathMap\":[$paths]}" >"$STATE/etc/local-path.json"
  cp "$CLUSTER_DIR/manifests/local-path-helper.yaml" "$STATE/etc/local-path-helper.yaml"
}

write_node_config() {
  local i=$1 node=$STATE/nodes/n$1 ip snapshotter=overlayfs
  ip=$(node_ip "$i")
  mkdir -p "$node"/{kubelet,containerd,cni/net.d,volumes,podlogs,volumeplugins}
  # An overlay cannot lie on an overlay, as it would inside a container.
  [[ $(stat -fc %T "$node") != overlayfs ]] || snapshotter=native
  # Without CAP_SYS_RESOURCE a process may not lower its OOM score, and every
  # sandbox would fail on that.
  local restrict=false
  has_sys_resource || restrict=true
  cat >"$node/containerd.toml" <<END
version = 3
root = "$node/containerd"
state = "/run/containerd/state"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins.'io.containerd.cri.v1.images']
  snapshotter = "$snapshotter"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "redkite.test/pause:1"
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = $restrict
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["$BIN/cni"]
    conf_dir = "$node/cni/net.d"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
END
  # hairpinMode: a pod may be its own Service's only endpoint.
  cat >"$node/cni/net.d/10-bridge.conflist" <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.$i.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
END
  # Images cannot be pulled again, so none is ever collected; and a machine
  # whose disk is rather full still has to run pods.
  cat >"$node/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $ip
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $STATE/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $STATE/pki/kubelet-n$i.crt
tlsPrivateKeyFile: $STATE/pki/kubelet-n$i.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$(cgroup_root "$i")
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
resolvConf: $STATE/etc/empty
podLogsDir: $node/podlogs
volumePluginDir: $node/volumeplugins
nodeStatusUpdateFrequency: 4s
nodeStatusReportFrequency: 4s
nodeLeaseDurationSeconds: 10
syncFrequency: 10s
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, nodefs.inodesFree: 1%, imagefs.available: 1%}
END
  write_proxy_config "$node/proxy.yaml" "n$i" "$ip"
}

write_proxy_config() {
  cat >"$1" <<END
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: $STATE/pki/kube-proxy.conf}
hostnameOverride: $2
bindAddress: $3
metricsBindAddress: 127.0.0.1:10249
clusterCIDR: $POD_CIDR
iptables: {minSyncPeriod: 100ms}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpTimeout: 0s, udpStreamTimeout: 0s}
END
}

has_sys_resource() {
  local caps
  caps=$(sed -n 's/^CapEff:\t//p' /proc/self/status)
  ((0x$caps >> 24 & 1))
}
