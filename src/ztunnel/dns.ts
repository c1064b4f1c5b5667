/** The DNS proxy of a place, beside its listeners: whose queries they are, and where its sockets live. */
import type { RunningDns } from '../dns/proxy.ts';
import type { Workload } from '../mesh/model.ts';
import type { Place, ZtunnelServices } from './context.ts';

/** Undefined: DNS is left alone. Rejects when it cannot listen. */
export async function startDns(services: ZtunnelServices, place: Place): Promise<RunningDns | undefined> {
  const { dns, preset, settings, waiter } = services;
  // A node's listeners serve many pods whose queries look alike by the time they are here.
  if (dns === undefined || preset.capture === 'node') return undefined;
  // What queries is the place's own workload, whatever address it has.
  const client = () => place.sourceAt('127.0.0.1');
  // One wait for all that ask meanwhile: others wait for the mesh too.
  let waiting: Promise<Workload | undefined> | undefined;
  const awaitClient = () => {
    waiting ??= waiter.until(settings.unknownSourceWaitMs, client).finally(() => {
      waiting = undefined;
    });
    return waiting;
  };
  return await dns.start({
    name: place.name,
    namespace: place.namespace,
    mark: settings.listenerMarks ? preset.marks.own : undefined,
    reusePort: settings.reusePort,
    client,
    awaitClient,
  });
}
