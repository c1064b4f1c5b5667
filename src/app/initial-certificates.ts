/**
 * For readiness: the first of each certificate. Until it was had or refused, inbound connections cannot be answered; later
 * ones are renewals, which `SecretStore.alarms` speaks of.
 */
import type { SecretStore } from '../identity/secret.ts';

export class InitialCertificates {
  readonly #secrets: SecretStore;
  #wanted = false;
  #settled = false;

  constructor(secrets: SecretStore) {
    this.#secrets = secrets;
  }

  /** They have been asked for. */
  wanted(): void {
    this.#wanted = true;
  }

  get settled(): boolean {
    if (!this.#wanted) return false;
    this.#settled ||= ![...this.#secrets.states()].some(([, state]) => state.kind === 'initializing');
    return this.#settled;
  }
}
