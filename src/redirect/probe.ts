/** What this kernel and host can do, for options left at `auto`. Each probe removes what it made. */
import type { Membership, Tunnel } from './parameters.ts';
import { command, commandError, isDenied, type Runner } from './runner.ts';

/**
 * The encapsulation the kernel has: GENEVE as in the article, else VXLAN; `undefined` when it has neither, and the devices
 * must be made by somebody else (a veth pair into the ztunnel pod). Throws when asking is not permitted.
 */
async function probeTunnelKind(runner: Runner): Promise<'geneve' | 'vxlan' | undefined> {
  for (const kind of ['geneve', 'vxlan'] as const) {
    const device = `ambit-${kind}`;
    const wanted = command('ip', [
      'link',
      'add',
      'name',
      device,
      'type',
      kind,
      'id',
      '1',
      'remote',
      '192.0.2.1',
      ...port,
    ]);
    const made = await runner.run(wanted);
    if (made.status === 0) {
      const removal = command('ip', ['link', 'del', device]);
      const removed = await runner.run(removal);
      if (removed.status !== 0) throw commandError(removal, removed);
      return kind;
    }
    if (made.status === 127 || isDenied(made.stderr)) throw commandError(wanted, made);
  }
  return undefined;
}

/** A port that no tunnel uses, so that the probe cannot clash with one that is there. */
const port = ['dstport', '6079'];

/** `ipset` where the tool and the kernel have it. Throws when asking is not permitted. */
export async function probeMembership(runner: Runner): Promise<Membership> {
  const set = `ambit-probe-${process.pid}`;
  const wanted = command('ipset', ['create', set, 'hash:ip', 'comment']);
  const made = await runner.run(wanted);
  if (made.status !== 0) {
    if (isDenied(made.stderr)) throw commandError(wanted, made);
    return 'rules';
  }
  const removal = command('ipset', ['destroy', set]);
  const removed = await runner.run(removal);
  if (removed.status !== 0) throw commandError(removal, removed);
  return 'ipset';
}

/** MTU of a tunnel over 1500-byte links: 50 bytes go to the encapsulation. */
export const defaultTunnelMtu = 1450;

/** The tunnel for this kernel; devices that are there already when it has no encapsulation. */
export async function probeTunnel(runner: Runner, mtu = defaultTunnelMtu): Promise<Tunnel> {
  const kind = await probeTunnelKind(runner);
  return kind === undefined ? { kind: 'existing' } : { kind, mtu };
}
