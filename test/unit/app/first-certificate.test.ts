import t from 'tap';
import { FirstCertificate } from '../../../src/app/first-certificate.ts';
import type { Secret, SecretState } from '../../../src/identity/secret.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { testIdentity } from '../../support/test-ca.ts';

const alice = testIdentity('spiffe://cluster.local/ns/shop/sa/alice');
type Settled = Exclude<SecretState, { kind: 'initializing' }>;
const available: Settled = { kind: 'available', secret: {} as Secret };

function make() {
  const clock = new FakeClock();
  const answers: ((state: Settled) => void)[] = [];
  const acquire = () => new Promise<Settled>((resolve) => answers.push(resolve));
  const certificates = new FirstCertificate({ current: () => undefined, acquire }, clock);
  const start = async () => {
    const state = { over: false };
    const done = certificates.of(alice).then(() => {
      state.over = true;
    });
    await clock.advanceAsync(0);
    return { state, done };
  };
  return { clock, answers, start };
}

t.test('a pod waits for its certificate, or for the CA to refuse it', async (t) => {
  for (const answer of [available, { kind: 'unavailable', reason: 'refused' } as const]) {
    const { clock, answers, start } = make();
    const { state, done } = await start();
    t.notOk(state.over);
    answers[0]?.(answer);
    await done;
    t.equal(clock.pending, 0, 'no timer is left');
  }
});

t.test('a CA that does not answer holds up one pod for two seconds, and no other until it answers again', async (t) => {
  const { clock, answers, start } = make();
  const first = await start();
  await clock.advanceAsync(1999);
  t.notOk(first.state.over);
  await clock.advanceAsync(1);
  t.ok(first.state.over);
  const second = await start();
  t.ok(second.state.over, 'asked for, not waited for');
  t.equal(answers.length, 2);
  answers[1]?.(available);
  await clock.advanceAsync(0);
  t.notOk((await start()).state.over, 'it is waited for again');
});

t.test('nobody waits for what is there', async (t) => {
  const clock = new FakeClock();
  const acquire = () => Promise.reject(new Error('not to be asked'));
  await new FirstCertificate({ current: () => ({}) as Secret, acquire }, clock).of(alice);
  t.equal(clock.pending, 0);
});
