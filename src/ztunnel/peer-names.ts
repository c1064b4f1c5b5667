/**
 * Names of a workload that the mesh here has no record of, because it is on another network: from the `baggage` it sent,
 * in CONNECT or in the answer (ztunnel.md §4.2). For logs and metrics only; nothing is decided by them.
 *
 * I1: the namespace is the one the peer's certificate proves; baggage that names another is not believed at all.
 * I2: one identity goes by few names in a while: each is a set of metric series, and whoever holds a certificate could else
 *     take all the room there is for those of others.
 */
import type { Clock } from '../base/clock.ts';
import { parseSpiffeId, type SpiffeId } from '../base/spiffe.ts';

export interface PeerNames {
  readonly namespace: string;
  readonly workloadName: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly clusterId: string;
  readonly region: string;
  readonly zone: string;
}

/** What a whole header, and one value of it, may be long. */
const maxHeaderLength = 4096;
const maxValueLength = 253;

/** Undefined: there is none, or it is not to be believed. */
export function namesFromBaggage(baggage: string | undefined, identity: SpiffeId | undefined): PeerNames | undefined {
  const namespace = identity === undefined ? undefined : parseSpiffeId(identity)?.namespace;
  if (namespace === undefined || baggage === undefined || baggage.length > maxHeaderLength) return undefined;
  const members = membersOf(baggage);
  const claimed = members.get('k8s.namespace.name');
  if (claimed !== undefined && claimed !== namespace) return undefined;
  const workloadName = ['deployment', 'cronjob', 'pod', 'job']
    .map((type) => members.get(`k8s.${type}.name`))
    .find((name) => name !== undefined);
  return {
    namespace,
    workloadName: workloadName ?? '',
    canonicalName: members.get('service.name') ?? '',
    canonicalRevision: members.get('service.version') ?? '',
    clusterId: members.get('k8s.cluster.name') ?? '',
    region: members.get('cloud.region') ?? '',
    zone: members.get('cloud.availability_zone') ?? '',
  };
}

function membersOf(baggage: string): ReadonlyMap<string, string> {
  const members = new Map<string, string>();
  for (const member of baggage.split(',')) {
    const equals = member.indexOf('=');
    if (equals < 0) continue;
    // Properties of a member (W3C Baggage §3.3.2) come after a semicolon.
    const value = member.slice(equals + 1).split(';', 1)[0] as string;
    if (/^[\x21-\x7e]*$/.test(value) && value.length <= maxValueLength) {
      members.set(member.slice(0, equals).trim(), value);
    }
  }
  return members;
}

const mostNames = 16;
const mostIdentities = 4096;
const rememberMs = 10 * 60_000;

/** Whose names are believed, and how many. */
export class BelievedNames {
  readonly #clock: Clock;
  readonly #believes: boolean;
  readonly #known = new Map<SpiffeId, { readonly sinceMs: number; readonly names: Set<string> }>();

  /** `believes` false: nobody's. */
  constructor(clock: Clock, believes: boolean) {
    this.#clock = clock;
    this.#believes = believes;
  }

  /** As `namesFromBaggage`, within the limits. */
  of(baggage: string | undefined, identity: SpiffeId | undefined): PeerNames | undefined {
    const names = this.#believes ? namesFromBaggage(baggage, identity) : undefined;
    if (names === undefined || identity === undefined) return undefined;
    const { names: known } = this.#of(identity);
    const text = Object.values(names).join(' ');
    if (!known.has(text) && known.size >= mostNames) return undefined;
    known.add(text);
    return names;
  }

  #of(identity: SpiffeId) {
    const nowMs = this.#clock.nowMs();
    let known = this.#known.get(identity);
    if (known !== undefined && nowMs - known.sinceMs < rememberMs) return known;
    const [oldest] = this.#known.keys();
    if (known === undefined && this.#known.size >= mostIdentities && oldest !== undefined) this.#known.delete(oldest);
    known = { sinceMs: nowMs, names: new Set() };
    this.#known.set(identity, known);
    return known;
  }
}
