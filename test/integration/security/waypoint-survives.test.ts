/** What one client or one application sends ends its own connection at most, never the process. */
import { createServer, type RequestListener } from 'node:http';
import { connect } from 'node:http2';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { eventually, within } from '../../support/eventually.ts';
import { createHarness } from '../waypoint/harness.ts';

const plain = 'GET /slow HTTP/1.1\r\nhost: a\r\n\r\n';
const upgrade = 'GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n';
const silent: RequestListener = () => {};

/** Exceptions that escaped all handlers while the test ran. */
function escaped(t: Test): Error[] {
  const errors: Error[] = [];
  const note = (error: Error) => void errors.push(error);
  process.on('uncaughtException', note);
  t.teardown(() => process.off('uncaughtException', note));
  return errors;
}

t.test('an upgrade behind a request under way ends that connection alone', async (t) => {
  const errors = escaped(t);
  const harness = await createHarness(t, { pods: [silent] });
  const stream = await harness.tunnel();
  stream.on('error', () => {});
  stream.write(plain + upgrade);
  await within('the connection to be cut', new Promise((resolve) => stream.resume().once('close', resolve)));
  t.same(errors, []);
});

t.test('an upgrade behind a refused request changes nothing about the refusal', async (t) => {
  const errors = escaped(t);
  const harness = await createHarness(t, { pods: [silent] });
  const stream = await harness.tunnel();
  stream.write(`GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n${upgrade}`);
  t.match(await within('the refusal', text(stream)), /^HTTP\/1\.1 400 /);
  t.same(errors, []);
});

t.test('requests pipelined without end are cut at a bound', async (t) => {
  const harness = await createHarness(t, { pods: [silent] });
  const stream = await harness.tunnel();
  stream.on('error', () => {});
  stream.write(plain.repeat(1000));
  await within('the connection to be cut', new Promise((resolve) => stream.resume().once('close', resolve)));
  await eventually('requests to be told', () => harness.requests.length > 0);
  t.ok(harness.requests.length <= 100, `${harness.requests.length} requests were taken`);
});

for (const name of ['etag', 'constructor', '__proto__']) {
  t.test(`trailers of the application that come twice harm nobody, and pass: ${name}`, async (t) => {
    const errors = escaped(t);
    const answer = `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n${name}: a\r\n${name}: b\r\n\r\n`;
    const pod = (socket: Socket) => void socket.once('data', () => socket.write(answer));
    const harness = await createHarness(t, { podKind: 'tcp', pods: [pod] });
    const stream = await harness.tunnel();
    const session = connect('http://a', { createConnection: () => stream as never });
    session.on('error', () => {});
    t.teardown(() => session.destroy());
    const request = session.request({ ':path': '/' });
    request.on('error', () => {});
    await within('the stream to end', new Promise((resolve) => request.resume().once('close', resolve)));
    t.same(errors, []);
    t.equal(request.rstCode, 0);
  });
}

t.test('an answer that HTTP/2 cannot carry is no success', async (t) => {
  const errors = escaped(t);
  const server = createServer((_request, response) => {
    response.writeHead(600, ['etag', 'a', 'etag', 'b']);
    response.end('ok');
  });
  const harness = await createHarness(t, { pods: [silent], servers: [server] });
  const stream = await harness.tunnel();
  const session = connect('http://a', { createConnection: () => stream as never });
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  const request = session.request({ ':path': '/' });
  request.on('error', () => {});
  await within('the stream to end', new Promise((resolve) => request.resume().once('close', resolve)));
  t.not(request.rstCode, 0);
  t.same(errors, []);
});
