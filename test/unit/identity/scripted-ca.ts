/** A CA that signs with a real authority and misbehaves as told, for tests of those who ask it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import type { SpiffeId } from '../../../src/base/spiffe.ts';
import { type CertificateAuthority, openAuthority } from '../../../src/identity/authority.ts';
import type { CaAnswer, CaClient, CertificateOrder } from '../../../src/identity/ca-client.ts';
import { createOwnAuthorityClient } from '../../../src/identity/own-authority.ts';

export type Behaviour = (order: CertificateOrder, honest: () => Promise<CaAnswer>) => CaAnswer | Promise<CaAnswer>;

export class ScriptedCa implements CaClient {
  /** Identities in the order they were asked for. */
  readonly orders: SpiffeId[] = [];
  behaviour: Behaviour = (_order, honest) => honest();
  running = 0;
  mostRunning = 0;
  closed = false;
  readonly #honest: CaClient;

  constructor(authority: CertificateAuthority) {
    this.#honest = createOwnAuthorityClient(authority, silentLogger);
  }

  async sign(order: CertificateOrder, signal: AbortSignal): Promise<CaAnswer> {
    this.orders.push(order.identity);
    this.mostRunning = Math.max(this.mostRunning, ++this.running);
    try {
      return await this.behaviour(order, () => this.#honest.sign(order, signal));
    } finally {
      this.running--;
    }
  }

  close(): void {
    this.closed = true;
  }
}

/** An authority in a folder of its own, removed by `t`. */
export async function temporaryAuthority(
  t: { teardown(handler: () => void): unknown },
  clock: Clock,
): Promise<{ authority: CertificateAuthority; folder: string }> {
  const parent = mkdtempSync(join(tmpdir(), 'ambit-ca-'));
  t.teardown(() => rmSync(parent, { recursive: true, force: true }));
  const folder = join(parent, 'ca');
  return { folder, authority: await openAuthority({ folder, create: true, trustDomain: 'cluster.local', clock }) };
}
