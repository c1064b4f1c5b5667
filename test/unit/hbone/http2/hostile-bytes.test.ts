/** Octets that no honest peer sends, to a server and to a client: nothing is thrown, and whoever was told of a stream hears of its end. */
import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import type { StreamEnd } from '../../../../src/hbone/http2/engine.ts';
import { openClientSession, serveSession } from '../../../../src/hbone/http2/session.ts';
import { defaultRelayOptions } from '../../../../src/hbone/options.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { HeldSocket } from '../../../support/held-socket.ts';
import {
  answer,
  connectTo,
  data,
  endHeaders,
  endStream,
  frame,
  goAway,
  greeting,
  headerBlock,
  paddedData,
  ping,
  reset,
  setting,
  settings,
  windowUpdate,
} from '../../../support/http2-frames.ts';

/** Numbers below a bound, the same for the same seed. */
function dice(seed: number): (most: number) => number {
  let state = seed;
  return (most) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
}

type Dice = ReturnType<typeof dice>;

/** Mostly what is allowed, so that sessions live long enough for the rest. `opened`: streams up to there have begun. */
function anything(roll: Dice, opened: number, beginning: () => Buffer): Buffer {
  const id = roll(opened) * 2 + 1;
  const text = 'x'.repeat(roll(300));
  const flags = roll(4) === 0 ? endStream : 0;
  const usual: readonly (() => Buffer)[] = [
    beginning,
    () => data(id, text, flags),
    () => paddedData(id, text, roll(256), flags),
    () => reset(id, roll(2) === 0 ? 'CANCEL' : 'NO_ERROR'),
    () => windowUpdate(id, roll(2 ** 16) + 1),
    () => windowUpdate(0, roll(2 ** 16) + 1),
    () => settings([setting.initialWindowSize, roll(2 ** 17)], [setting.headerTableSize, roll(5000)]),
    () => ping('x', roll(2)),
  ];
  const strange: readonly (() => Buffer)[] = [
    () => windowUpdate(roll(2) * id, roll(2 ** 31)),
    () => settings([roll(10), roll(2 ** 31)]),
    () => goAway(id),
    () => data(roll(40), text),
    () => frame(1, roll(256), id, headerBlock([['x-a', text]])),
    () => frame(9, roll(2) * endHeaders, id, headerBlock([['x-b', text]])),
    () => frame(roll(14), roll(256), roll(40), Buffer.alloc(roll(20), roll(256))),
  ];
  const kinds = roll(20) === 0 ? strange : usual;
  const bytes = (kinds[roll(kinds.length)] as () => Buffer)();
  if (roll(80) === 0) bytes[roll(bytes.length)] = roll(256);
  return bytes;
}

for (const role of ['server', 'client'] as const) {
  t.test(`whatever comes to a ${role}, it ends its own session at most, and every stream is told`, async (t) => {
    let streams = 0;
    let broken = 0;
    for (let seed = 1; seed <= 200; seed++) {
      const roll = dice(seed);
      const socket = new HeldSocket();
      socket.holds = roll(2) === 0;
      const clock = new FakeClock();
      const told: string[] = [];
      const ends: string[][] = [];
      const paused: StreamEnd[] = [];
      const listen = () => {
        const heard: string[] = [];
        ends.push(heard);
        return {
          data: () => {},
          end: () => heard.push('end'),
          drain: () => {},
          closed: () => heard.push('closed'),
          broken: () => heard.push('broken'),
        };
      };
      const events = { failed: () => told.push('failed'), closed: () => told.push('closed') };
      const options = { relay: defaultRelayOptions, clock, maxStreams: 8 };
      if (role === 'server') {
        serveSession(socket.asTls, options, {
          ...events,
          stream: (stream) => {
            stream.respond(200, [], false);
            stream.end.start(listen());
            stream.end.write(Buffer.alloc(roll(100_000)));
            if (roll(3) === 0) stream.end.end();
            if (roll(4) > 0) return;
            stream.end.pause();
            paused.push(stream.end);
          },
        });
      } else {
        const session = openClientSession(socket.asTls, options, {
          ...events,
          ready: () => {
            for (let n = 0; n < 6; n++) {
              const handler = listen();
              const stream = session.request([':method', 'CONNECT', ':authority', 'a:1']);
              stream.wait({
                answered: () => {
                  stream.end.start(handler);
                  stream.end.write(Buffer.alloc(roll(100_000)));
                  if (roll(3) === 0) stream.end.end();
                },
                gone: () => handler.broken(),
              });
            }
          },
          goingAway: () => {},
          room: () => {},
        });
      }
      socket.resume();
      await turn();
      socket.comes(role === 'server' ? greeting : settings());
      let opened = role === 'server' ? 0 : 6;
      let answered = 0;
      const beginning = () => {
        if (role === 'server') return connectTo(opened++ * 2 + 1, 'a:1', roll(4) === 0 ? endStream : 0);
        return answer(answered++ * 2 + 1, [100, 404, 99][roll(15)] ?? 200);
      };
      for (let first = 0; first < 4; first++) socket.comes(beginning());
      for (let frames = 0; frames < 60 && !socket.destroyed; frames++) {
        const bytes = anything(roll, opened, beginning);
        const cut = roll(bytes.length);
        socket.comes(bytes.subarray(0, cut));
        if (roll(4) === 0) await turn();
        socket.comes(bytes.subarray(cut));
      }
      await turn();
      if (roll(2) === 0) socket.push(null);
      else socket.destroy();
      await turn();
      await turn();
      clock.advance(1000);
      // What came whole before its peer stopped listening waits to be read.
      for (const end of paused) end.resume();
      await turn();
      if (told.includes('failed')) broken++;
      streams += ends.length;
      const over = ends.every((heard) => heard.filter((what) => what !== 'end').length === 1 && heard.at(-1) !== 'end');
      if (!over || told.filter((what) => what === 'closed').length !== 1 || told.at(-1) !== 'closed') {
        t.fail(`seed ${seed}: ${told}; ${ends.map((heard) => heard.join('+')).join(', ')}`);
        break;
      }
    }
    t.ok(streams > 400 && broken > 100, `${streams} streams, ${broken} sessions ended by what came`);
  });
}
