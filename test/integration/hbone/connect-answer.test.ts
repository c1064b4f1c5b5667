/** An answer that cannot be sent, as by headers that a verdict's author got wrong, ends its stream alone. */
import t from 'tap';
import { framing } from '../../../src/hbone/http2/framing.ts';
import { createRelay } from '../../../src/hbone/relay.ts';
import { eventually, within } from '../../support/eventually.ts';
import { connectTo, frameType } from '../../support/http2-frames.ts';
import { greeted, rawClients } from '../../support/raw-http2.ts';
import { dialApp, type MakeRelay, makeWorld } from '../../support/relay-world.ts';

const ours: MakeRelay = (dependencies) => createRelay({ ...dependencies, http2: framing });

t.test('headers of a verdict that cannot be sent end their stream, and no other', async (t) => {
  const world = await makeWorld(t, ours, {
    onConnect: (request, world) => {
      const verdict = dialApp(request, world);
      return request.authority === 'bad:1' ? ({ ...verdict, headers: [['x-bad', 'a\nb']] } as typeof verdict) : verdict;
    },
  });
  const peer = await greeted(await rawClients(t, world));
  peer.send(connectTo(1, 'bad:1'));
  const dialed = await within('the application', world.accepted());
  dialed.resume();
  await peer.until('an end of it', () => peer.resetOn(1));
  await eventually('the end of its connection', () => dialed.destroyed);
  peer.send(connectTo(3, 'good:1'));
  await peer.frame(frameType.headers, 3);
  t.equal(peer.statusOn(3), 200);
  t.equal(peer.statusOn(1), undefined);
});
