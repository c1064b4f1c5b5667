/** nghttp2's own client through a waypoint: an HTTP/2 that is not Node's, many streams at once. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import t from 'tap';
import { createHarness } from '../integration/waypoint/harness.ts';
import { eventually } from '../support/eventually.ts';
import { missing, runProgram } from '../support/programs.ts';

t.test('h2load: every request is answered, with bodies both ways', { skip: missing('h2load') }, async (t) => {
  const harness = await createHarness(t, {
    pods: [
      (request, response) => {
        let bytes = 0;
        request.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        request.once('end', () => response.end('x'.repeat(bytes)));
      },
    ],
  });
  const entry = createServer((socket) => {
    socket.on('error', () => {});
    void harness.tunnel().then((stream) => {
      stream.on('error', () => socket.destroy());
      socket.pipe(stream).pipe(socket);
    });
  }).listen(0, '127.0.0.1');
  t.teardown(() => entry.close());
  await once(entry, 'listening');
  const url = `http://127.0.0.1:${(entry.address() as AddressInfo).port}/`;
  const load = ['h2load', '-n', '400', '-c', '4', '-m', '20', '--data', import.meta.filename, url] as const;
  const { code, stdout } = await runProgram(load);
  t.equal(code, 0);
  t.match(stdout, /400 succeeded, 0 failed, 0 errored, 0 timeout/);
  await eventually('the reports', () => harness.requests.length === 400);
  t.ok(harness.requests.every(({ request }) => request.responseCode === 200 && request.responseFlags === '-'));
});
