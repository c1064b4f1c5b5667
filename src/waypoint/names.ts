/**
 * Names of the stages a request passes, as dumps and access logs show them (R31, R32; waypoint.md §2.1). The article's
 * world has eight of them, today's fewer; the code that runs is the same.
 */
import type { Preset } from '../config/preset.ts';

export interface StageNames {
  readonly terminate: string;
  /** Cluster behind the CONNECT terminator for a service port; the listener it enters. */
  serviceEntry(port: number, host: string): { readonly cluster: string; readonly listener: string };
  /** Cluster over which a service's pods are balanced. */
  serviceCluster(port: number, host: string, protocol: 'http' | 'tcp'): string;
  /** Whether there is a stage for the pod itself. */
  readonly podStage: boolean;
  /** Where a pod's own policies apply, `entry` leading there from CONNECT; undefined: there is no such stage. */
  pod(
    port: number,
    ip: string,
  ): { readonly entry: string; readonly listener: string; readonly cluster: string } | undefined;
  readonly originate: string;
  /** Cluster of a destination that this waypoint does not own. */
  foreignCluster(port: number, host: string): string;
}

const article: StageNames = {
  terminate: 'inbound_CONNECT_terminate',
  serviceEntry: (port, host) => ({
    cluster: `inbound-vip|${port}|internal|${host}`,
    listener: `inbound-vip|${port}||${host}`,
  }),
  serviceCluster: (port, host, protocol) => `inbound-vip|${port}|${protocol}|${host}`,
  podStage: true,
  pod: (port, ip) => ({
    entry: `inbound-pod|${port}|internal|${ip}`,
    listener: `inbound-pod|${port}||${ip}`,
    cluster: `inbound-pod|${port}||${ip}`,
  }),
  originate: 'inbound_CONNECT_originate',
  foreignCluster: (port, host) => `outbound|${port}||${host}`,
};

const today: StageNames = {
  terminate: 'connect_terminate',
  serviceEntry: () => ({ cluster: 'main_internal', listener: 'main_internal' }),
  serviceCluster: (port, host, protocol) => `inbound-vip|${port}|${protocol}|${host}`,
  podStage: false,
  pod: () => undefined,
  originate: 'connect_originate',
  foreignCluster: (port, host) => `outbound|${port}||${host}`,
};

export function stageNames(preset: Preset): StageNames {
  return preset.names === 'article' ? article : today;
}
