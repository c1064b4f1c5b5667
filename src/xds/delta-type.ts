/**
 * The client's side of delta discovery for one type: what is held, what must be looked at, what is answered
 * (ztunnel.md §6.2; istiod-observed.md, Streams). Pure bookkeeping: no sockets, no clock, no records.
 *
 * I1: a resource is held exactly while its last version was accepted and it was neither removed nor dropped.
 * I2: a resource whose version is held is not looked at again; an empty version says nothing, so it always is.
 * I3: what is held without a version is unconfirmed from the start of a stream until the server sends it again or removes
 *     it: only being sent again tells that it still exists.
 */
export type Answer =
  | { readonly kind: 'ack'; readonly nonce: string }
  | { readonly kind: 'nack'; readonly nonce: string; readonly reason: string };

export interface Refusal {
  readonly name: string;
  /** Names the resource and the field. */
  readonly reason: string;
}

/** Reasons of one answer beyond these are counted, not told. */
const mostReasons = 16;
const longestReason = 400;

export class DeltaType {
  /** Name → version, of what was accepted. */
  readonly #held = new Map<string, string>();
  /** Of what is held, the names without a version. */
  readonly #unversioned = new Set<string>();
  /** Refused, and nothing of it is held: they are in nobody's list, so only being sent again tells that they exist. */
  readonly #refused = new Set<string>();
  #unconfirmed = new Set<string>();
  #refusals: Refusal[] = [];
  #refusalCount = 0;
  #acknowledged = false;

  /** Whether a whole response was ever accepted. */
  get acknowledged(): boolean {
    return this.#acknowledged;
  }

  get size(): number {
    return this.#held.size;
  }

  /** A new stream begins: forgets a response that was not answered. */
  begin(): void {
    this.#refusals = [];
    this.#refusalCount = 0;
    this.#unconfirmed = this.#unversioned.union(this.#refused);
  }

  /** For `initial_resource_versions` of the first request of a stream. */
  versions(): Iterable<readonly [name: string, version: string]> {
    return this.#held;
  }

  versionOf(name: string): string | undefined {
    return this.#held.get(name);
  }

  /** A resource was sent: whether its content must be looked at. */
  sent(name: string, version: string): boolean {
    this.#unconfirmed.delete(name);
    return version === '' || this.#held.get(name) !== version;
  }

  accept(name: string, version: string): void {
    this.#refused.delete(name);
    this.#held.set(name, version);
    if (version === '') this.#unversioned.add(name);
    else this.#unversioned.delete(name);
  }

  /** What was held of that name before stays, at its old version. */
  refuse(refusal: Refusal): void {
    if (refusal.name !== '' && !this.#held.has(refusal.name)) this.#refused.add(refusal.name);
    this.#refusalCount++;
    if (this.#refusals.length < mostReasons) this.#refusals.push(refusal);
  }

  remove(name: string): void {
    this.#held.delete(name);
    this.#unversioned.delete(name);
    this.#refused.delete(name);
    this.#unconfirmed.delete(name);
  }

  /** The response with this nonce has been worked off: the answer to it. */
  finish(nonce: string): Answer {
    const refusals = this.#refusals;
    const more = this.#refusalCount - refusals.length;
    this.#refusals = [];
    this.#refusalCount = 0;
    if (refusals.length === 0) {
      this.#acknowledged = true;
      return { kind: 'ack', nonce };
    }
    const reasons = refusals.map(({ reason }) => shorten(reason));
    if (more > 0) reasons.push(`and ${more} more`);
    return { kind: 'nack', nonce, reason: reasons.join('; ') };
  }

  get unconfirmed(): number {
    return this.#unconfirmed.size;
  }

  /** The server has had time to send everything: forgets what it did not, and gives their names. */
  dropUnconfirmed(): readonly string[] {
    const names = [...this.#unconfirmed];
    for (const name of names) this.remove(name);
    return names;
  }
}

function shorten(reason: string): string {
  return reason.length <= longestReason ? reason : `${reason.slice(0, longestReason)}…`;
}
