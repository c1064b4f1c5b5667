/** The text of `ambit redirect --help`. */
export const redirectHelp = `Usage: ambit redirect apply|remove|show PROGRAM [options]

Leads the traffic of pods to ztunnel. Needs CAP_NET_ADMIN, except for show, which only prints the commands.
apply may be repeated and undoes itself on failure; remove takes off what apply made and puts former settings back.

Programs
  node      a node's network namespace: tunnels to its ztunnel pod, marks, routing by mark
            --ztunnel-address IP   address of the node's ztunnel pod
            --ztunnel-device NAME  the node's end of that pod's veth
            --host-address IP      the node's own address on it
            --tunnel KIND          auto (default), geneve, vxlan, or existing: the devices are there already
            --mtu BYTES            of the tunnels, 1450
            --membership KIND      auto (default), ipset, or rules: one iptables rule per pod
            --member IP=DEVICE     a captured pod and the node's end of its veth; may be repeated; no waypoints
            --dns                  the pods' DNS goes to ztunnel as well
  ztunnel   the network namespace of that ztunnel pod: --ztunnel-address --host-address --tunnel --mtu, and
            --device NAME          the pod's own device, eth0
  host      ztunnel in the node's own namespace, without tunnels: --membership --member, and
            --return-path KIND     how replies are recognised: socket (default) or connmark
  inpod     a pod's own network namespace, as today's Istio: --dns, and
            --ipv6                 IPv6 as well

Options of every program
  --netns PATH       work in this network namespace (/proc/PID/ns/net, /run/netns/NAME)
  --state-dir DIR    where the record of what was applied is kept, /run/ambit/redirect
  --set NAME=VALUE   another mark, table, port or name: node.tables.outbound=201; may be repeated
  --force            remove: where no record says what was applied, go by the options given, and by names only
  --help

Environment
  AMBIT_IPTABLES            auto (default: where kube-proxy's rules are), nft or legacy
  AMBIT_REDIRECT_STATE_DIR  as --state-dir

Exit status: 0 done, 1 failed, 2 bad arguments.
`;
