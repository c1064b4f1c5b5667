/**
 * Places: a request takes one of each limit that is for it, in their order, and gives them back when its exchange is over.
 * It waits for one where the limit has a queue.
 */
import { keyOf } from '../../route/request-source.ts';
import type { ConcurrencyLimit, RequestFacts, TrafficProtection } from '../../route/traffic-protection.ts';
import type { RequestRecord } from '../request-record.ts';
import { go, type StageAnswer } from '../stages/stage.ts';
import { applies } from './applies.ts';
import type { Entry } from './turnstile.ts';

export function askConcurrency(
  record: RequestRecord,
  facts: RequestFacts,
  protections: readonly TrafficProtection[],
): StageAnswer | Promise<StageAnswer> {
  const limits = protections.flatMap((protection) =>
    protection.concurrency
      .filter((limit) => applies(limit, facts))
      .map((limit) => ({ limit, dryRun: protection.dryRun })),
  );
  return enterFrom(0);

  function enterFrom(first: number): StageAnswer | Promise<StageAnswer> {
    for (let at = first; at < limits.length; at++) {
      const { limit, dryRun } = limits[at] as (typeof limits)[number];
      const answer = enter(record, facts, limit, dryRun);
      if (answer instanceof Promise) {
        return answer.then((settled) => (settled.kind === 'reply' ? settled : enterFrom(at + 1)));
      }
      if (answer.kind === 'reply') return answer;
    }
    return go;
  }
}

function enter(
  record: RequestRecord,
  facts: RequestFacts,
  limit: ConcurrencyLimit,
  dryRun: boolean,
): StageAnswer | Promise<StageAnswer> {
  const { protections } = record.services;
  let decide: (answer: StageAnswer) => void = () => {};
  const settle = (entry: Entry): StageAnswer => {
    if (entry.kind === 'in') {
      if (record.gone.cancelled) entry.leave();
      else record.gone.on(entry.leave);
      return go;
    }
    protections.count(limit.name, 'concurrency', !dryRun);
    if (dryRun) {
      record.audit([`TrafficProtection ${limit.name}`]);
      return go;
    }
    return overflow(limit.name, entry.waited);
  };
  const turnstile = protections.turnstile(limit);
  const entry = turnstile.enter(keyOf(limit.key, facts), facts.clientIdentity, (later) => decide(settle(later)));
  if (entry.kind !== 'waits') return settle(entry);
  if (dryRun) {
    entry.giveUp();
    return settle({ kind: 'full', waited: false });
  }
  record.gone.on(entry.giveUp);
  return new Promise((resolve) => {
    decide = resolve;
  });
}

/** As Envoy's circuit breakers say it. */
function overflow(name: string, waited: boolean): StageAnswer {
  const details = `concurrency_limit${waited ? '_waited' : ''}{${name}}`;
  const headers = ['retry-after', '1', 'x-envoy-overloaded', 'true'];
  return { kind: 'reply', status: 503, body: 'too many requests at a time', flags: 'UO', details, headers };
}
