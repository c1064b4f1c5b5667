/**
 * What this kernel and its tools can do inside the lab, tried rather than guessed: each missing feature comes with the
 * way round it that the lab takes, or with its cause and the one line that mends it.
 */
import { runCommand } from './command.ts';
import { inNamespace, type LabNamespace } from './namespace.ts';
import type { RedirectionMode, RedirectionSettings } from './redirection.ts';

export type FeatureName =
  | 'ip'
  | 'iptables'
  | 'ip6tables'
  | 'sysctl'
  | 'veth'
  | 'tproxy'
  | 'connmark'
  | 'ipset'
  | 'vxlan'
  | 'geneve';

export interface Feature {
  readonly name: FeatureName;
  readonly available: boolean;
  /** Why it is missing: the tool's or the kernel's words. Empty when available. */
  readonly cause: string;
  /** What the lab does instead, or undefined when it cannot do without. */
  readonly fallback: string | undefined;
  /** One line that would bring the feature. */
  readonly remedy: string;
}

interface Trial {
  readonly name: FeatureName;
  readonly argv: readonly string[];
  readonly stdin?: string;
  readonly fallback?: string;
  readonly remedy: string;
}

const trials: readonly Trial[] = [
  { name: 'ip', argv: ['ip', '-V'], remedy: 'apt-get install iproute2' },
  { name: 'iptables', argv: ['iptables', '-t', 'nat', '-S'], remedy: 'apt-get install iptables' },
  {
    name: 'sysctl',
    argv: ['sh', '-c', 'echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter'],
    remedy: 'start the container with --privileged (its /proc/sys is read-only)',
  },
  {
    name: 'veth',
    argv: ['ip', 'link', 'add', 'probe0', 'type', 'veth', 'peer', 'name', 'probe1'],
    remedy: 'sudo modprobe veth',
  },
  {
    name: 'tproxy',
    argv: ['iptables-restore', '--noflush'],
    stdin: '*mangle\n-A PREROUTING -p tcp -j TPROXY --on-port 1 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff\nCOMMIT\n',
    remedy: 'sudo modprobe xt_TPROXY',
  },
  {
    name: 'connmark',
    argv: ['iptables-restore', '--noflush'],
    stdin: '*mangle\n-A PREROUTING -m connmark --mark 0x1/0x1 -j CONNMARK --save-mark\nCOMMIT\n',
    remedy: 'sudo modprobe -a xt_connmark xt_CONNMARK',
  },
  {
    name: 'ipset',
    argv: ['ipset', 'create', 'probe', 'hash:ip'],
    fallback: 'one iptables rule per pod',
    remedy: 'apt-get install ipset && sudo modprobe ip_set_hash_ip',
  },
  {
    name: 'vxlan',
    argv: ['ip', 'link', 'add', 'probe2', 'type', 'vxlan', 'id', '1', 'remote', '192.0.2.1', 'dstport', '6081'],
    fallback: 'veth pairs between node and ztunnel',
    remedy: 'sudo modprobe vxlan',
  },
  {
    name: 'geneve',
    argv: ['ip', 'link', 'add', 'probe3', 'type', 'geneve', 'id', '1', 'remote', '192.0.2.1', 'dstport', '6082'],
    fallback: 'VXLAN on GENEVE’s port',
    remedy: 'sudo modprobe geneve',
  },
];

const ipv6Trial: Trial = {
  name: 'ip6tables',
  argv: ['ip6tables', '-t', 'nat', '-S'],
  remedy: 'apt-get install iptables && sudo modprobe ip6table_nat',
};

/** Tries every feature in a namespace made for it; what the trials leave goes with the namespace. */
export async function probeFeatures(scratch: LabNamespace, ipv6 = false): Promise<readonly Feature[]> {
  const features: Feature[] = [];
  for (const { name, argv, stdin, fallback, remedy } of ipv6 ? [...trials, ipv6Trial] : trials) {
    const outcome = await runCommand(inNamespace(scratch, argv), stdin === undefined ? {} : { stdin });
    const cause = outcome.ok ? '' : outcome.stderr.trim().split('\n').at(-1) || outcome.reason;
    features.push({ name, available: outcome.ok, cause, fallback, remedy });
  }
  return features;
}

export function hasFeature(features: readonly Feature[], name: FeatureName): boolean {
  return features.some((feature) => feature.name === name && feature.available);
}

/** What this way of redirecting cannot do without, and is not there. */
export function missingFor(features: readonly Feature[], mode: RedirectionMode): readonly Feature[] {
  const unused: readonly FeatureName[] = mode === 'none' ? ['tproxy', 'connmark'] : mode === 'inpod' ? ['tproxy'] : [];
  return features.filter(
    ({ name, available, fallback }) => !available && fallback === undefined && !unused.includes(name),
  );
}

/** One line per missing feature, for the user to read. */
export function describeMissing(features: readonly Feature[]): string[] {
  return features
    .filter((feature) => !feature.available)
    .map(({ name, cause, fallback, remedy }) => {
      const consequence = fallback === undefined ? `to mend it: ${remedy}` : `using ${fallback} instead`;
      return `${name} is missing (${cause}); ${consequence}`;
    });
}

/** Fills what was not asked for with the article's choice, or the nearest thing this kernel has. */
export function chooseRedirection(
  features: readonly Feature[],
  asked: { readonly mode: RedirectionMode } & Partial<RedirectionSettings> = { mode: 'none' },
): RedirectionSettings {
  const encapsulation = hasFeature(features, 'vxlan') ? 'vxlan' : 'veth';
  return {
    tunnel: hasFeature(features, 'geneve') ? 'geneve' : encapsulation,
    membership: hasFeature(features, 'ipset') ? 'ipset' : 'rules',
    returnPath: 'socket',
    dns: false,
    ...asked,
  };
}
