/**
 * What a route asks for before its own action: an injected fault, then CORS. In Envoy's order, so that an injected abort
 * carries no CORS headers and a preflight waits like any other request.
 */
import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { Exchange } from '../http/exchange.ts';
import type { HeaderList } from '../http/header-list.ts';
import { decideCors } from '../route/cors.ts';
import { drawFault } from '../route/fault.ts';
import type { FaultAbort, RouteStages } from '../route/model.ts';

export type StagesOutcome = { readonly delayed: boolean } & (
  | { readonly kind: 'abort'; readonly answer: FaultAbort }
  | { readonly kind: 'preflight'; readonly headers: HeaderList }
  /** The client left while it was delayed. */
  | { readonly kind: 'left' }
  /** `allowed` adds to a response what CORS says. */
  | { readonly kind: 'go'; readonly allowed: ((response: HeaderList) => HeaderList) | undefined }
);

/** `next` is called once: at once, or after the delay. */
export function runStages(
  stages: RouteStages,
  exchange: Exchange,
  headers: HeaderList,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
  next: (outcome: StagesOutcome) => void,
): void {
  const fault = stages.fault === undefined ? undefined : drawFault(stages.fault, random);
  const goOn = (delayed: boolean) => next({ delayed, ...afterDelay(stages, exchange, headers, fault?.abort) });
  if (fault === undefined || fault.delayMs === 0) {
    goOn(false);
    return;
  }
  let waiting = true;
  const timer = clock.after(fault.delayMs, () => {
    waiting = false;
    goOn(true);
  });
  exchange.onClosed(() => {
    if (!waiting) return;
    timer.cancel();
    next({ delayed: true, kind: 'left' });
  });
}

function afterDelay(stages: RouteStages, exchange: Exchange, headers: HeaderList, abort: FaultAbort | undefined) {
  if (abort !== undefined) return { kind: 'abort', answer: abort } as const;
  if (stages.cors === undefined) return { kind: 'go', allowed: undefined } as const;
  const decision = decideCors(stages.cors, exchange.request.method, headers);
  switch (decision.kind) {
    case 'preflight':
      return decision;
    case 'pass':
      return { kind: 'go', allowed: undefined } as const;
    case 'allow':
      return { kind: 'go', allowed: decision.allowed } as const;
  }
}
