import t from 'tap';
import { drawFault, grpcStatusNames, httpStatusOfGrpc } from '../../../src/route/fault.ts';
import type { FaultPolicy } from '../../../src/route/model.ts';

const both: FaultPolicy = {
  delay: { delayMs: 7000, share: 0.1 },
  abort: { answer: { kind: 'http', status: 418 }, share: 0.5 },
};

function draw(fault: FaultPolicy, ...numbers: number[]) {
  return drawFault(fault, { next: () => numbers.shift() ?? 1 });
}

t.test('delay and abort are drawn apart, each by its share', async (t) => {
  t.same(draw(both, 0.09, 0.49), { delayMs: 7000, abort: { kind: 'http', status: 418 } });
  t.same(draw(both, 0.1, 0.49), { delayMs: 0, abort: { kind: 'http', status: 418 } });
  t.same(draw(both, 0.09, 0.5), { delayMs: 7000, abort: undefined });
});

t.test('a share of zero strikes nobody, one strikes all', async (t) => {
  const sharing = (share: number): FaultPolicy => ({ delay: { delayMs: 1, share }, abort: undefined });
  t.equal(draw(sharing(0), 0).delayMs, 0);
  t.equal(draw(sharing(1), 0.999_999).delayMs, 1);
});

t.test('a gRPC status has an HTTP status for those who do not speak it', async (t) => {
  t.equal(httpStatusOfGrpc(grpcStatusNames.indexOf('UNAVAILABLE')), 503);
  t.equal(httpStatusOfGrpc(grpcStatusNames.indexOf('UNAUTHENTICATED')), 401);
  t.equal(httpStatusOfGrpc(grpcStatusNames.indexOf('DEADLINE_EXCEEDED')), 504);
});
