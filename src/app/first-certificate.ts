/**
 * The certificate of a pod that is starting comes before its listeners, so that nobody finds it listening and unable to
 * answer (ztunnel.md §7).
 *
 * I1: a CA that does not answer holds pods up once, for `waitMs`, and not again until a certificate has come: the node
 *     agent gives a pod only seconds, and a pod without a certificate refuses rather than lets in.
 */
import type { Clock } from '../base/clock.ts';
import type { SpiffeId } from '../base/spiffe.ts';
import type { SecretStore } from '../identity/secret.ts';

export class FirstCertificate {
  readonly #secrets: Pick<SecretStore, 'current' | 'acquire'>;
  readonly #clock: Clock;
  readonly #waitMs: number;
  #inVain = false;

  constructor(secrets: Pick<SecretStore, 'current' | 'acquire'>, clock: Clock, waitMs = 2000) {
    this.#secrets = secrets;
    this.#clock = clock;
    this.#waitMs = waitMs;
  }

  /** Asks before all others do. Resolves with the certificate, with the CA's refusal, or when the wait is over. */
  async of(identity: SpiffeId): Promise<void> {
    if (this.#secrets.current(identity) !== undefined) return;
    const asked = this.#secrets.acquire(identity).then(({ kind }) => {
      if (kind === 'available') this.#inVain = false;
    });
    if (this.#inVain) return;
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(this.#waitMs, () => {
        this.#inVain = true;
        resolve();
      });
      void asked.then(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}
