/**
 * The join credential of a proxy: a client certificate for `ambit control`, bought once with a join token, kept in the
 * state folder, renewed by itself from then on (docs/identity.md).
 *
 * I1: a token is sent only when no credential is valid or the control plane refused it, always with the same key, so that a
 *     lost answer can be asked for again, and only when the folder was writable a moment before.
 */
import { join } from 'node:path';
import { Backoff } from '../base/backoff.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Random } from '../base/random.ts';
import { JoinService } from '../proto/gen/join_pb.js';
import type { RpcChannel } from '../rpc/channel.ts';
import { type ClientCertificate, readText, type TextSource } from '../rpc/credentials.ts';
import type { RpcFailure } from '../rpc/outcome.ts';
import { createKeyAndRequest, type KeyAndRequest } from './csr.ts';
import { checkCertificate } from './issued.ts';
import { answerFromChain } from './istio-ca-client.ts';
import { draftCredential, readCredential, StoredCredential, writeCredential } from './join-file.ts';
import { formatJoinUri, type JoinName, joinNameText } from './join-name.ts';
import { atWallTime } from './wall-timer.ts';

export interface JoinOptions {
  readonly name: JoinName;
  readonly trustDomain: string;
  /** `AMBIT_STATE_DIR`: private to this proxy's user. */
  readonly stateFolder: string;
  /** `AMBIT_JOIN_TOKEN`. Undefined: only a stored credential will do. */
  readonly token: TextSource | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

export interface JoinCredential {
  /** What to show to the control plane: the same object until it is renewed; undefined while there is none valid. */
  certificate(): ClientCertificate | undefined;
  /** Joins or renews over the channel, now and then always in time. The channel stays the caller's. */
  start(channel: RpcChannel): void;
  /** Resolves when no attempt is under way. */
  settled(): Promise<void>;
  /** Why there is no credential, or why it is not being renewed. */
  failure(): string | undefined;
  close(): void;
}

/** `AMBIT_JOIN_TOKEN`: the token itself, or the path of a file that holds it. */
export function joinTokenSource(value: string): TextSource {
  return value.startsWith('ambit-join-') ? { kind: 'text', text: value } : { kind: 'file', path: value };
}

/** Reads what is stored. A stored credential that is no good is reported and not used. */
export async function openJoinCredential(options: JoinOptions): Promise<JoinCredential> {
  const credential = new Credential(options);
  await credential.load();
  return credential;
}

class Credential implements JoinCredential {
  readonly #options: JoinOptions;
  readonly #uri: string;
  readonly #path: string;
  readonly #backoff: Backoff;
  readonly #abort = new AbortController();
  #stored: StoredCredential | undefined;
  #pending: KeyAndRequest | undefined;
  #attempt: Promise<void> = Promise.resolve();
  #failure: string | undefined;
  #timer: Timer | undefined;

  constructor(options: JoinOptions) {
    const { name } = options;
    const fileName = name.kind === 'node' ? `node-${name.node}` : `waypoint-${name.namespace}+${name.serviceAccount}`;
    this.#options = { ...options, logger: options.logger.topic('identity') };
    this.#uri = formatJoinUri(options.trustDomain, name);
    this.#path = join(options.stateFolder, `join-${fileName}.pem`);
    this.#backoff = new Backoff({ initialMs: 1000, maxMs: 150_000 }, options.random);
  }

  async load(): Promise<void> {
    try {
      const stored = await readCredential(this.#path);
      if (stored?.uri === this.#uri) this.#stored = stored;
      else if (stored !== undefined) this.#note(`${this.#path} is of ${stored.uri}`);
    } catch (error) {
      this.#note(`the stored join credential is not usable: ${errorText(error)}`);
    }
  }

  certificate(): ClientCertificate | undefined {
    const stored = this.#stored;
    return stored !== undefined && this.#options.clock.wallMs() < stored.notAfterMs ? stored : undefined;
  }

  start(channel: RpcChannel): void {
    // A stored credential is renewed as well: that tells at once whether the control plane still knows it.
    this.#begin(channel);
  }

  async settled(): Promise<void> {
    await this.#attempt;
  }

  failure(): string | undefined {
    return this.#failure;
  }

  close(): void {
    this.#abort.abort();
    this.#timer?.cancel();
  }

  #begin(channel: RpcChannel): void {
    this.#attempt = this.#try(channel).then(() => {
      if (this.#abort.signal.aborted) return;
      if (this.#failure === undefined) this.#scheduleRenewal(channel);
      else this.#timer = this.#options.clock.after(this.#backoff.nextMs(), () => this.#begin(channel));
    });
  }

  #scheduleRenewal(channel: RpcChannel): void {
    const { clock } = this.#options;
    const nowMs = clock.wallMs();
    const leftMs = (this.#stored?.notAfterMs ?? nowMs) - nowMs;
    this.#timer = atWallTime(clock, nowMs + Math.max(1000, leftMs / 2), () => this.#begin(channel));
  }

  /** Never rejects; leaves `#failure` set or clear. */
  async #try(channel: RpcChannel): Promise<void> {
    try {
      this.#pending ??= await createKeyAndRequest(this.#uri);
      await draftCredential(this.#path, this.#pending.keyPem);
      const reason = await this.#ask(channel, this.#pending);
      if (reason !== undefined) this.#note(reason);
    } catch (error) {
      this.#note(errorText(error));
    }
  }

  async #ask(channel: RpcChannel, { requestPem, keyPem, publicKey }: KeyAndRequest): Promise<string | undefined> {
    const result = await this.#call(channel, requestPem);
    if (result.kind === 'error') return `${result.code}: ${result.message}`;
    const { chainPem, rootsPem } = answerFromChain(result.message.certChain);
    const nowMs = this.#options.clock.wallMs();
    const check = checkCertificate(chainPem, rootsPem, { uri: this.#uri, publicKey, nowMs });
    if (check.kind === 'bad') return check.reason;
    const stored = new StoredCredential(this.#uri, keyPem, chainPem.join(''), check.notAfterMs);
    await writeCredential(this.#path, stored);
    this.#stored = stored;
    this.#pending = undefined;
    this.#failure = undefined;
    this.#backoff.reset();
    const until = new Date(check.notAfterMs).toISOString();
    this.#options.logger.info('joined the control plane', { as: joinNameText(this.#options.name), until });
    return undefined;
  }

  async #call(channel: RpcChannel, csr: string) {
    const { signal } = this.#abort;
    const { token } = this.#options;
    let renewal: RpcFailure | undefined;
    if (this.certificate() !== undefined) {
      const result = await channel.unary(JoinService.method.renew, { csr }, { signal });
      // A CA that was made anew no longer knows the credential: a token helps again.
      if (result.kind === 'ok' || result.retryable || token === undefined) return result;
      renewal = result;
    }
    if (token === undefined) throw new Error('no join credential is stored and AMBIT_JOIN_TOKEN is not set');
    const text = (await readText(token)).trim();
    const joined = await channel.unary(JoinService.method.join, { token: text, csr }, { signal });
    return joined.kind === 'error' && renewal !== undefined ? renewal : joined;
  }

  #note(reason: string): void {
    if (this.#abort.signal.aborted) return;
    this.#failure = reason;
    this.#options.logger.warn('no new join credential', { as: joinNameText(this.#options.name), reason });
  }
}
