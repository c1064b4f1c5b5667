/**
 * Extensions' say on a connection: before its HTTP is served, or, where it is none, before and after its policies, as their
 * phases ask. A hook sees facts, never bytes.
 */
import { HookCaller, HookCells, type HookOutcome } from '../extensions/hook-caller.ts';
import type { Lease } from '../extensions/running.ts';
import type { ExtensionPhase, ExtensionRecord } from '../route/extension.ts';
import type { Tunnel, WaypointServices } from './context.ts';
import { clientFacts, extensionsOf } from './stages/extensions.ts';

export const phasesBeforePolicies: readonly ExtensionPhase[] = ['authn', 'authz'];
export const phasesAfterPolicies: readonly ExtensionPhase[] = ['stats', 'last'];
export const allPhases: readonly ExtensionPhase[] = [...phasesBeforePolicies, ...phasesAfterPolicies];

/** Why the connection is to be closed; undefined: it goes on. At once where nobody is asked. */
export function askAboutConnection(
  services: WaypointServices,
  tunnel: Tunnel,
  protocol: 'http' | 'tcp',
  phases: readonly ExtensionPhase[],
): Promise<string | undefined> | undefined {
  const model = services.model();
  if (model.extensions === undefined) return undefined;
  const records = extensionsOf({ model, own: services.own(), tunnel }, phases, undefined);
  return records.length === 0 ? undefined : askAll(services, tunnel, protocol, records);
}

async function askAll(
  services: WaypointServices,
  tunnel: Tunnel,
  protocol: 'http' | 'tcp',
  records: readonly ExtensionRecord[],
): Promise<string | undefined> {
  const { destination } = tunnel;
  const service = destination.kind === 'service' ? destination.service.key : undefined;
  const port = destination.kind === 'service' ? destination.port.servicePort : destination.address.port;
  const content = { client: clientFacts(tunnel), service, port, protocol };
  for (const record of records) {
    const cells = new HookCells(record, services.extensions.metrics);
    const lease = await new Promise<Lease | undefined>((resolve) => services.extensions.lease(record, resolve));
    if (lease === undefined) {
      // Requests of HTTP meet the failure mode one by one, and are told.
      const failed = protocol === 'http' ? undefined : cells.failed('connection', 'unavailable');
      if (failed?.kind === 'refused') return failed.details;
      continue;
    }
    const caller = new HookCaller(cells, lease, services.clock);
    try {
      if (!caller.has('connection')) continue;
      const outcome = await new Promise<HookOutcome>((resolve) => caller.ask({ hook: 'connection', content }, resolve));
      if (outcome.kind === 'refused') return outcome.details;
      if (outcome.kind === 'answer' && outcome.answer.close !== undefined) {
        return `extension_closed{${cells.name}: ${outcome.answer.close}}`;
      }
    } finally {
      caller.release();
    }
  }
  return undefined;
}
