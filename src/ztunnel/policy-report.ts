/**
 * What policies decided, as metrics and log lines: once a connection, and again when a change of policy ends it.
 * Dry-run policies are only told of here. Lines are at debug, or at info with AUTHZ_POLICY_INFO_LOGGING (ztunnel.md §5.3).
 *
 * I1: series are those of policies in force: one that is removed takes its series along, and the rest are bounded.
 */
import { formatSocketAddress, type SocketAddress } from '../base/address.ts';
import type { Logger } from '../base/logger.ts';
import type { Counter, Labels, MetricsRegistry } from '../base/metrics.ts';
import type { PolicyKey } from '../mesh/model.ts';
import type { PolicyOutcome } from './authorization.ts';

/** Whom it was about, for log lines. */
export interface PolicySubject {
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
  readonly identity: string | undefined;
}

const metric = 'ambit_policy_decisions_total';
const help = 'Connections by what policies decided; dry_run="true": what policies on trial would have decided.';
/** Policies come and go; decisions without one have this name. */
const noPolicy = 'none';

type Cause = PolicyOutcome['cause'] | 'matched';

export class PolicyReport {
  readonly #metrics: MetricsRegistry;
  readonly #logger: Logger;
  readonly #level: 'info' | 'debug';
  /** A policy has a handful of them: looked through, no text is made for a decision. */
  readonly #cells = new Map<PolicyKey | undefined, DecisionCell[]>();

  constructor(metrics: MetricsRegistry, logger: Logger, infoLogging: boolean) {
    this.#metrics = metrics;
    this.#logger = logger.topic('policy');
    this.#level = infoLogging ? 'info' : 'debug';
  }

  decided(outcome: PolicyOutcome, subject: PolicySubject): void {
    const { action, cause, policy, rule, dryRun, dryRunDenial } = outcome;
    this.#count(policy, action, cause, false);
    for (const note of dryRun) this.#count(note.policy, note.action, 'matched', true);
    if (dryRunDenial?.policy === undefined && dryRunDenial !== undefined) {
      this.#count(undefined, 'deny', dryRunDenial.reason, true);
    }
    if (!this.#logger.enabled(this.#level)) return;
    const who = {
      'src.addr': formatSocketAddress(subject.source),
      'src.identity': subject.identity,
      'dst.addr': formatSocketAddress(subject.destination),
    };
    for (const note of dryRun) {
      const { policy: name, rule: index } = note;
      this.#logger[this.#level](`dry run: matched by ${note.action.toUpperCase()} policy`, {
        ...who,
        policy: name,
        rule: index,
      });
    }
    if (dryRunDenial !== undefined) {
      const { policy: name, rule: index, reason } = dryRunDenial;
      this.#logger[this.#level]('dry run: would have been denied', { ...who, policy: name, rule: index, reason });
    }
    this.#logger[this.#level](action === 'allow' ? 'allowed' : 'denied', { ...who, policy, rule, reason: cause });
  }

  /** To be told of policies that are gone. */
  removed(policies: readonly PolicyKey[]): void {
    for (const policy of policies) {
      for (const { labels } of this.#cells.get(policy) ?? []) this.#metrics.remove(metric, labels);
      this.#cells.delete(policy);
    }
  }

  #count(policy: PolicyKey | undefined, action: 'allow' | 'deny', cause: Cause, dryRun: boolean): void {
    const ofPolicy = this.#cells.getOrInsertComputed(policy, noCells);
    let found = ofPolicy.find((each) => each.action === action && each.cause === cause && each.dryRun === dryRun);
    if (found === undefined) {
      const labels = { policy: policy ?? noPolicy, action, reason: cause, dry_run: String(dryRun) };
      found = { action, cause, dryRun, labels, cell: this.#metrics.counter(metric, help, labels) };
      ofPolicy.push(found);
    }
    found.cell.value++;
  }
}

interface DecisionCell {
  readonly action: 'allow' | 'deny';
  readonly cause: Cause;
  readonly dryRun: boolean;
  readonly labels: Labels;
  readonly cell: Counter;
}

function noCells(): DecisionCell[] {
  return [];
}
