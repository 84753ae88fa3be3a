# The network of one cluster: namespace `net` with a bridge and the control
# plane, one namespace per node, nothing that leads out of them.
# shellcheck shell=bash

netns() { printf 'rk-%s-%s' "$RID" "$1"; }

in_ns() {
  local ns
  ns=$(netns "$1")
  shift
  # Not `ip netns exec`: that mounts a fresh /sys, which hides the cgroups.
  nsenter --net="/run/netns/$ns" "$@"
}

net_up() {
  local net i
  net=$(netns net)
  ip netns add "$net"
  ip -n "$net" -batch - <<END
link set lo up
link add brn type bridge
addr add $CONTROL_IP/24 dev brn
link set brn up
route add $SERVICE_CIDR dev brn
END
  in_ns net sh -c 'echo 0 >/proc/sys/net/ipv4/ip_forward
    f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 0 >$f'
  for ((i = 1; i <= NODES; i++)); do
    ip -n "$net" route add "10.244.$i.0/24" via "$(node_ip "$i")"
  done
}

# Makes (or, for a reboot, makes anew) the network of node I. A fresh namespace
# is what a rebooted machine has: no old rules, no old pod interfaces.
node_net_up() {
  local i=$1 j net ns
  net=$(netns net)
  ns=$(netns "n$i")
  node_net_down "$i"
  ip netns add "$ns"
  ip -n "$ns" link set lo up
  # A fixed hardware address: peers remember it over a reboot.
  ip -n "$net" link add "v$i" type veth peer name eth0 address "02:00:0a:fa:00:1$i" netns "$ns"
  ip -n "$net" link set "v$i" master brn up
  {
    echo "addr add $(node_ip "$i")/24 dev eth0"
    echo "link set eth0 up"
    echo "route add default via $CONTROL_IP"
    for ((j = 1; j <= NODES; j++)); do
      ((j == i)) || echo "route add 10.244.$j.0/24 via $(node_ip "$j")"
    done
  } | ip -n "$ns" -batch -
  # Both switches are per namespace. Without the second a pod cannot reach a
  # neighbour on its own node through a Service.
  in_ns "n$i" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward
    f=/proc/sys/net/bridge/bridge-nf-call-iptables
    if [ -e $f ]; then echo 1 >$f; else echo "br_netfilter is missing" >&2; fi'
}

node_net_down() {
  local ns net
  ns=$(netns "n$1")
  net=$(netns net)
  # A namespace is freed late; its end of the cable would keep the name taken.
  ip -n "$net" link del "v$1" 2>/dev/null || true
  [[ ! -e /run/netns/$ns ]] || ip netns del "$ns"
}

node_link() { ip -n "$(netns net)" link set "v$1" "$2"; }
