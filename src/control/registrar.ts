/**
 * What both services of the control plane share: the authority, who a caller is, and how every answer is logged and
 * counted. A refusal's reason says what to do about it.
 */
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/logger.ts';
import type { Counter, MetricsRegistry } from '../base/metrics.ts';
import type { CertificateAuthority, Leaf } from '../identity/authority.ts';
import { type JoinName, joinNameText, parseJoinUri } from '../identity/join-name.ts';
import { type RpcCode, type RpcFailure, rpcFailure } from '../rpc/outcome.ts';
import type { Caller } from '../rpc/server.ts';
import { CallBudget } from './call-budget.ts';

export interface RegistrarOptions {
  readonly authority: CertificateAuthority;
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricsRegistry;
}

type Service = 'certificate' | 'join' | 'renew';

export class Registrar {
  readonly trustDomain: string;
  readonly #options: RegistrarOptions;
  /** A node asks for all its pods at once when it starts. */
  readonly #members: CallBudget;
  readonly #strangers: CallBudget;
  readonly #counters = new Map<string, Counter>();

  constructor(options: RegistrarOptions) {
    this.trustDomain = options.trustDomain;
    this.#options = { ...options, logger: options.logger.topic('ca') };
    this.#members = new CallBudget({ burst: 1000, perSecond: 50, maxCallers: 10_000 }, options.clock);
    this.#strangers = new CallBudget({ burst: 30, perSecond: 1, maxCallers: 10_000 }, options.clock);
  }

  /** The member whose credential the caller showed. */
  memberOf(caller: Caller): JoinName | undefined {
    const names = caller.certificate?.subjectAltName;
    return names?.startsWith('URI:') === true ? parseJoinUri(this.trustDomain, names.slice('URI:'.length)) : undefined;
  }

  /** Undefined when the call may go on. */
  overBudget(service: Service, caller: Caller, member: JoinName | undefined): RpcFailure | undefined {
    const allowed =
      member === undefined
        ? this.#strangers.take(caller.peer.replace(/:\d+$/, ''))
        : this.#members.take(joinNameText(member));
    return allowed
      ? undefined
      : this.refuse(service, caller, 'RESOURCE_EXHAUSTED', 'too many requests: try again later');
  }

  async issue(service: Service, caller: Caller, uri: string, publicKey: Buffer, lifeMs: number): Promise<string[]> {
    const leaf = await this.#options.authority.issue({ publicKey, names: [{ type: 'url', value: uri }], lifeMs });
    this.#count(service, 'issued');
    this.#logIssued(service, caller, uri, leaf);
    return [...leaf.chainPem, this.#options.authority.rootsPem];
  }

  refuse(service: Service, caller: Caller, code: RpcCode, reason: string): RpcFailure {
    this.#count(service, code.toLowerCase());
    const member = this.memberOf(caller);
    const { logger } = this.#options;
    // Who floods the service must not flood the log as well.
    const level = code === 'RESOURCE_EXHAUSTED' ? 'debug' : 'warn';
    logger[level]('certificate refused', {
      service,
      code,
      reason,
      peer: caller.peer,
      member: member === undefined ? undefined : joinNameText(member),
    });
    return rpcFailure(code, reason);
  }

  #logIssued(service: Service, caller: Caller, uri: string, leaf: Leaf): void {
    this.#options.logger.info('certificate issued', {
      service,
      uri,
      serial: leaf.serialNumber,
      until: new Date(leaf.notAfterMs).toISOString(),
      peer: caller.peer,
    });
  }

  #count(service: Service, result: string): void {
    const key = `${service} ${result}`;
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      const help = 'Certificate requests to this control plane by service and result.';
      counter = this.#options.metrics.counter('ambit_ca_requests_total', help, { service, result });
      this.#counters.set(key, counter);
    }
    counter.value++;
  }
}
