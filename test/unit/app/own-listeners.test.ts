/** Which addresses lead back to the program itself. */
import t from 'tap';
import { ownListeners } from '../../../src/app/own-listeners.ts';
import { systemClock } from '../../../src/base/clock.ts';
import { FakeClock } from '../../support/fake-clock.ts';

t.test('an address of the machine at a port of the program, as the machine has it now', async (t) => {
  const clock = new FakeClock();
  let asked = 0;
  let addresses = new Set(['10.0.0.5', 'fd00::5']);
  const isOwn = ownListeners([15008, 15020], clock, () => {
    asked++;
    return addresses;
  });
  t.equal(isOwn({ ip: '10.0.0.5', port: 80 }), false, 'another port');
  t.equal(asked, 0, 'nothing is asked for it');
  t.equal(isOwn({ ip: '10.0.0.5', port: 15008 }), true);
  t.equal(isOwn({ ip: 'fd00::5', port: 15020 }), true);
  t.equal(isOwn({ ip: '10.0.0.6', port: 15008 }), false, 'another machine');
  t.equal(asked, 1);
  addresses = new Set(['10.0.0.6']);
  clock.advance(10_000);
  t.equal(isOwn({ ip: '10.0.0.6', port: 15008 }), true, 'its address may change');
});

t.test('the loopback address is of every machine', async (t) => {
  t.equal(ownListeners([1], systemClock)({ ip: '127.0.0.1', port: 1 }), true);
});
