/**
 * Bodies of any length pass in bounded memory, up and down, over HTTP/1.1 and HTTP/2: what is on its way is a window, never
 * the body. 96 MiB each, or as many as AMBIT_TEST_BODY_MIB says.
 */
import { once } from 'node:events';
import { request as httpRequest, type RequestListener } from 'node:http';
import { connect } from 'node:http2';
import process from 'node:process';
import { type Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t, { type Test } from 'tap';
import { createHarness } from './harness.ts';

const mebibyte = 1 << 20;
const bodyMiB = Number(process.env.AMBIT_TEST_BODY_MIB ?? 96);
const totalBytes = bodyMiB * mebibyte;
const lookEveryBytes = 12 * mebibyte;
/** Windows on two legs, and what each of their ends, HTTP's and TLS's holds: 16 were seen, of 1024. */
const heldAtMostMiB = 40;

// A shared machine has carried less than 2 MiB a second.
t.setTimeout(60_000 + 2 * bodyMiB * 1000);
setFlagsFromString('--expose_gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Bytes of buffers that somebody holds, of all that is in this process: client, waypoint and application. */
function heldMiB(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers / mebibyte;
}

function* body(): Iterable<Buffer> {
  const chunk = Buffer.alloc(mebibyte / 4, 'x');
  for (let left = totalBytes; left > 0; left -= chunk.length) yield chunk;
}

/** Writes the whole body as fast as it is let, and ends. */
async function pour(to: Writable): Promise<void> {
  for (const chunk of body()) if (!to.write(chunk)) await once(to, 'drain');
  to.end();
}

/** Reads to the end; resolves with the bytes. */
async function drain(from: Readable, onProgress: () => void = () => {}): Promise<number> {
  let bytes = 0;
  let next = lookEveryBytes;
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes >= next) {
        next += lookEveryBytes;
        onProgress();
      }
      done();
    },
  });
  await pipeline(from, sink);
  return bytes;
}

for (const version of ['1.1', '2'] as const) {
  t.test(`bodies of any length pass in bounded memory, both ways, over HTTP/${version}`, async (t) => {
    let most = 0;
    let before = 0;
    const look = () => {
      most = Math.max(most, heldMiB() - before);
    };
    const uploaded = Promise.withResolvers<number>();
    const listener: RequestListener = (request, response) => {
      drain(request, look)
        .then((bytes) => {
          uploaded.resolve(bytes);
          return pour(response);
        })
        .catch(uploaded.reject);
    };
    const harness = await createHarness(t, { pods: [listener] });
    const exchange = await open(t, version, await harness.tunnel());
    before = heldMiB();
    const residentBefore = process.memoryUsage.rss();
    const startedMs = performance.now();
    await pour(exchange.outgoing);
    t.equal(await uploaded.promise, totalBytes, 'up');
    const upMs = performance.now() - startedMs;
    t.equal(await drain(await exchange.response, look), totalBytes, 'down');
    const downMs = performance.now() - startedMs - upMs;
    const residentMiB = (process.memoryUsage.rss() - residentBefore) / mebibyte;
    t.ok(most > 0 && most < heldAtMostMiB, `${most.toFixed(1)} MiB held at most`);
    t.comment(
      `${bodyMiB} MiB: up in ${(upMs / 1000).toFixed(1)} s, down in ${(downMs / 1000).toFixed(1)} s; ` +
        `${most.toFixed(1)} MiB held at most, ${residentMiB.toFixed(0)} MiB more resident`,
    );
  });
}

interface Exchange {
  readonly outgoing: Writable;
  readonly response: Promise<Readable>;
}

/** One POST on a tunnel of its own. */
async function open(t: Test, version: '1.1' | '2', stream: unknown): Promise<Exchange> {
  if (version === '1.1') {
    const headers = { host: 'a' };
    const outgoing = httpRequest({ createConnection: () => stream as never, method: 'POST', headers });
    return { outgoing, response: once(outgoing, 'response').then(([response]) => response as Readable) };
  }
  const session = connect('http://productpage:9080', { createConnection: () => stream as never });
  session.on('error', () => {});
  t.teardown(() => session.destroy());
  const outgoing = session.request({ ':method': 'POST', ':path': '/' });
  return { outgoing, response: once(outgoing, 'response').then(() => outgoing) };
}
