/**
 * Extensions as policies attach them: which module, with what configuration, when in the order of filters, and what becomes
 * of a request when it does not answer. Compiled from our kind `Extension`; running them is the room `extensions/`.
 * Phases and priorities order as Istio's TrafficExtension does (waypoint reference §2.5).
 */
import type { ServiceKey } from '../mesh/model.ts';
import type { ObjectRef } from './object-ref.ts';

/** `last` is Istio's unspecified phase: after `stats`, before the request goes on. */
export type ExtensionPhase = 'authn' | 'authz' | 'stats' | 'last';

export interface ExtensionRecord {
  readonly source: ObjectRef;
  /** File below the folder of extensions. */
  readonly module: string;
  readonly phase: ExtensionPhase;
  /** Higher goes first within a phase. */
  readonly priority: number;
  /** As written; plain data. */
  readonly config: unknown;
  /** `open`: what the extension cannot answer goes on as if it were not there. */
  readonly failureMode: 'open' | 'closed';
  /** For one call of a hook. */
  readonly deadlineMs: number;
  /** Of the worker it runs in. */
  readonly memoryBytes: number;
  /** Longest body that is gathered for a hook that wants it whole. */
  readonly maxHeldBytes: number;
  /** The object cannot be followed, for this reason: it answers nothing, and its failure mode decides. */
  readonly broken: string | undefined;
}

/** In order: by phase, then priority, then namespace and name. */
export type ExtensionList = readonly ExtensionRecord[];

export interface AttachedExtensions {
  readonly services: ReadonlyMap<ServiceKey, ExtensionList>;
  readonly gateways: ReadonlyMap<string, ExtensionList>;
  /** By `HTTPRoute/namespace/name` or `GRPCRoute/namespace/name`. */
  readonly routes: ReadonlyMap<string, ExtensionList>;
  /** What the waypoint of a gateway has to run, each once, whatever it is attached to. */
  readonly byGateway: ReadonlyMap<string, ExtensionList>;
}

const phaseOrder: Readonly<Record<ExtensionPhase, number>> = { authn: 0, authz: 1, stats: 2, last: 3 };

/** Who goes first. */
export function compareExtensions(a: ExtensionRecord, b: ExtensionRecord): number {
  if (a.phase !== b.phase) return phaseOrder[a.phase] - phaseOrder[b.phase];
  if (a.priority !== b.priority) return b.priority - a.priority;
  const [x, y] = [extensionName(a), extensionName(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** `namespace/name`: what logs, metrics and views call it. */
export function extensionName({ source }: ExtensionRecord): string {
  return `${source.namespace}/${source.name}`;
}
