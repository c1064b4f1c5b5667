/** A hop between the article's pods for tests that need one, with what it reports written down. */
import { Hop } from '../../../src/ztunnel/hop.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { at, productpage, sleep } from './bookinfo.ts';

export function makeTestHop(direction: 'inbound' | 'outbound', lines: string[] = []): Hop {
  return new Hop(
    {
      direction,
      source: { address: at('10.244.1.4:1000'), workload: sleep, identity: sleep.identity },
      destination: { address: at('10.244.2.5:15008'), workload: productpage, identity: productpage.identity },
      authority: '10.244.2.5:9080',
      traceparent: undefined,
      service: undefined,
      hop: undefined,
    },
    {
      clock: new FakeClock(),
      random: { next: () => 0.5 },
      traffic: {
        connection: () => ({ opened() {}, transferred() {}, closed: (flag) => lines.push(flag) }),
        request() {},
        messages() {},
      },
      accessLog: { verbose: false, write: (event) => lines.push(event) },
    },
  );
}
