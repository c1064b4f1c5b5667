/**
 * One set of listeners for one place: outbound, inbound, plaintext, and DNS and SOCKS5 where they are on. Made together or not at all.
 *
 * I1: it is only started once the mesh is complete; before that a listener does not exist (design §4 rule 1).
 */
import { AmbitError } from '../base/errors.ts';
import type { RunningDns } from '../dns/proxy.ts';
import type { RunningListener } from '../hbone/seam.ts';
import type { Place, ZtunnelServices } from './context.ts';
import { startDns } from './dns.ts';
import { startInbound } from './inbound.ts';
import { startInboundPassthrough } from './inbound-passthrough.ts';
import { startOutbound } from './outbound.ts';
import { startSocks } from './socks.ts';

export interface RunningProxy {
  readonly outbound: RunningListener;
  readonly inbound: RunningListener;
  readonly plaintext: RunningListener;
  readonly dns: RunningDns | undefined;
  readonly socks: RunningListener | undefined;
  /** Stops accepting; live connections go on. */
  close(): Promise<void>;
  /** Ends what is left. */
  destroy(): void;
}

/** All of it, or its DNS alone (ENABLE_PROXY=false). */
export type RunningPlace = Pick<RunningProxy, 'close' | 'destroy'>;

/** As `startProxy`, without its listeners for TCP: captured traffic finds nobody, and is refused. */
export async function startDnsAlone(services: ZtunnelServices, place: Place): Promise<RunningPlace> {
  assertMeshKnown(services, place);
  const dns = await startDns(services, place);
  return {
    async close() {
      await dns?.close();
    },
    destroy: () => dns?.destroy(),
  };
}

/** Rejects when a listener cannot be made; those made before are closed again. */
export async function startProxy(services: ZtunnelServices, place: Place): Promise<RunningProxy> {
  assertMeshKnown(services, place);
  const started: RunningListener[] = [];
  let dns: RunningDns | undefined;
  let socks: RunningListener | undefined;
  try {
    // Inbound first: a pod that can be reached, but cannot reach others, does less harm than the reverse.
    for (const start of [startInbound, startInboundPassthrough, startOutbound]) {
      started.push(await start(services, place));
    }
    dns = await startDns(services, place);
    socks = await startSocks(services, place, dns);
    if (socks !== undefined) started.push(socks);
  } catch (error) {
    dns?.destroy();
    for (const listener of started) listener.destroy();
    throw error;
  }
  const [inbound, plaintext, outbound] = started as [RunningListener, RunningListener, RunningListener];
  return {
    outbound,
    inbound,
    plaintext,
    dns,
    socks,
    async close() {
      await Promise.all([...started.map((listener) => listener.close()), dns?.close()]);
    },
    destroy() {
      dns?.destroy();
      for (const listener of started) listener.destroy();
    },
  };
}

function assertMeshKnown(services: ZtunnelServices, place: Place): void {
  if (services.mesh.complete) return;
  const message = `no listener for ${place.name} before the mesh is known`;
  throw new AmbitError(message, { code: 'ZTUNNEL_MESH_INCOMPLETE', origin: 'local' });
}
