/**
 * Applies the redirection programs to a lab: the article's pair (`node`), ztunnel in the node's namespace (`host`), or
 * today's in-pod form (`inpod`). The rules are `redirect/`'s own, so that what is tested here is what is shipped.
 */
import { join } from 'node:path';
import { AmbitError } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { defaultRedirectConstants, type RedirectConstants } from '../redirect/constants.ts';
import type { Membership, Tunnel } from '../redirect/parameters.ts';
import { planProgram } from '../redirect/plan.ts';
import { defaultTunnelMtu } from '../redirect/probe.ts';
import { createRedirection, type Redirection } from '../redirect/redirection.ts';
import { createRunner } from '../redirect/runner.ts';
import { createFileStateStore, networkNamespaceId } from '../redirect/state-store.ts';
import { type LabNamespace, runIp } from './namespace.ts';
import { type LabNode, type LabPod, podIps, ztunnelName } from './topology.ts';
import { hostInterface } from './wiring.ts';

export type RedirectionMode = 'none' | 'node' | 'host' | 'inpod';
export type TunnelKind = 'geneve' | 'vxlan' | 'veth';

export interface RedirectionSettings {
  readonly mode: RedirectionMode;
  readonly tunnel: TunnelKind;
  readonly membership: Membership;
  /** For `host`: how replies to spoofed sockets are recognised. */
  readonly returnPath: 'socket' | 'connmark';
  /** Also captures the pods' DNS. */
  readonly dns: boolean;
}

export interface RedirectionDependencies {
  /** Where the records of what was applied are kept. */
  readonly directory: string;
  readonly logger: Logger;
  readonly namespace: (name: string) => LabNamespace;
}

export class LabRedirection {
  readonly settings: RedirectionSettings;
  readonly #dependencies: RedirectionDependencies;
  readonly #constants: RedirectConstants = defaultRedirectConstants;
  readonly #redirections = new Map<string, Promise<Redirection>>();

  constructor(settings: RedirectionSettings, dependencies: RedirectionDependencies) {
    this.settings = settings;
    this.#dependencies = dependencies;
  }

  /** Redirects a node; its pods follow one by one. From here on captured traffic goes to ztunnel or nowhere. */
  async addNode(node: LabNode): Promise<void> {
    const { mode, tunnel, membership, returnPath, dns } = this.settings;
    const constants = this.#constants;
    if (mode === 'host') {
      const plan = planProgram({ program: 'host', constants, membership, returnPath });
      await (await this.#redirection(node.name)).apply(plan);
    }
    if (mode !== 'node') return;
    const planned: Tunnel = tunnel === 'veth' ? { kind: 'existing' } : { kind: tunnel, mtu: defaultTunnelMtu };
    if (tunnel === 'veth') await this.#linkByVeth(node);
    const common = { constants, ztunnelAddress: node.ztunnelIp, hostAddress: node.gateway, tunnel: planned };
    const pod = await this.#redirection(ztunnelName(node));
    await pod.apply(planProgram({ ...common, program: 'ztunnel', device: 'eth0' }));
    const ztunnelDevice = hostInterface(ztunnelName(node));
    const host = await this.#redirection(node.name);
    await host.apply(planProgram({ ...common, program: 'node', ztunnelDevice, membership, dns }));
  }

  /** Captures a pod, if it is to be. */
  async addPod(pod: LabPod): Promise<void> {
    const { mode, dns } = this.settings;
    if (!pod.captured || mode === 'none') return;
    if (mode === 'inpod') {
      const redirection = await this.#redirection(pod.name);
      const ipv6 = podIps(pod).some((ip) => ip.includes(':'));
      await redirection.apply(planProgram({ program: 'inpod', constants: this.#constants, dns, ipv6 }));
      return;
    }
    if (podIps(pod).some((ip) => ip.includes(':'))) {
      const message = `pod ${pod.name}: its IPv6 traffic would pass ztunnel by: program ${mode} redirects IPv4 alone`;
      throw new AmbitError(message, { code: 'LAB_TOPOLOGY', origin: 'local' });
    }
    const comment = `${pod.namespace}/${pod.name}`;
    const redirection = await this.#redirection(pod.node);
    await redirection.addMember(mode, { ip: pod.ip, hostVeth: hostInterface(pod.name), comment });
  }

  /** Lets a pod go. In-pod rules go with the pod's namespace, or by `release` when it stays. */
  async removePod(pod: LabPod): Promise<void> {
    const { mode } = this.settings;
    if (!pod.captured || mode === 'none') return;
    if (mode === 'inpod') {
      await (await this.#redirection(pod.name)).remove('inpod');
      this.#redirections.delete(pod.name);
      return;
    }
    await (await this.#redirection(pod.node)).removeMember(mode, pod.ip);
  }

  async #linkByVeth(node: LabNode): Promise<void> {
    const { inbound, outbound } = this.#constants.tunnels;
    const ztunnel = this.#dependencies.namespace(ztunnelName(node));
    const lines = [inbound, outbound].map(
      ({ nodeDevice, podDevice }) => `link add ${nodeDevice} type veth peer name ${podDevice} netns ${ztunnel.path}`,
    );
    await runIp(this.#dependencies.namespace(node.name), lines);
  }

  #redirection(place: string): Promise<Redirection> {
    const known = this.#redirections.get(place);
    if (known !== undefined) return known;
    const made = this.#makeRedirection(this.#dependencies.namespace(place));
    this.#redirections.set(place, made);
    return made;
  }

  async #makeRedirection({ path }: LabNamespace): Promise<Redirection> {
    const { directory, logger } = this.#dependencies;
    return createRedirection({
      runner: createRunner({ networkNamespace: path }),
      store: createFileStateStore(join(directory, 'redirect'), await networkNamespaceId(path)),
      iptables: 'auto',
      logger,
    });
  }
}
