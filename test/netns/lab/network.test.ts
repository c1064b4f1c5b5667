/** The plain lab, nothing redirected: pods reach pods and services as in a cluster, and the lab can change while it runs. */
import { once } from 'node:events';
import t from 'tap';
import { bookinfoTopology } from '../../../src/lab/bookinfo.ts';
import { startCapture } from '../../../src/lab/capture.ts';
import { createLab } from '../../../src/lab/lab.ts';
import type { LabAnswer } from '../../../src/lab/request.ts';
import { connectFrom, listenIn } from '../../../src/lab/sockets.ts';
import { insideLab } from './inside.ts';

if (await insideLab()) {
  const lab = await createLab({ topology: bookinfoTopology() });
  t.teardown(() => lab.close());

  t.test('a service’s address leads to its pod, which sees the client’s own address', async (t) => {
    const answer = await lab.request('sleep', { kind: 'http', url: 'http://10.96.179.71:9080/productpage' });
    t.match(answer, { status: 200, end: 'fin', body: /Reviews served by: <u>reviews-v[123]<\/u>/ });
    t.match(answer, { headers: { 'x-app-pod': 'productpage', 'x-app-peer': /^10\.244\.1\.4:/ } });
  });

  t.test('services have names, and several endpoints share the connections', async (t) => {
    const requests = Array.from({ length: 30 }, () => ({ kind: 'http', url: 'http://reviews:9080/health' }) as const);
    const pods = new Set((await lab.requestMany('sleep', { requests, concurrency: 4 })).map(podOf));
    t.same([...pods].sort(), ['reviews-v1', 'reviews-v2', 'reviews-v3']);
  });

  t.test('every pod reaches every other directly, and the control plane from both nodes', async (t) => {
    t.match(await lab.request('ratings', { kind: 'tcp', host: '10.244.1.10', port: 15012 }), { end: 'refused' });
    t.match(await lab.request('node-b', { kind: 'tcp', host: '10.244.1.10', port: 15012 }), { end: 'refused' });
    t.match(await lab.request('control', { kind: 'http', url: 'http://10.244.2.7:9080/ratings/0' }), { status: 200 });
  });

  t.test('a pod reaches itself through its own service', async (t) => {
    const answer = await lab.request('details', { kind: 'http', url: 'http://details:9080/details/0' });
    t.match(answer, { status: 200, headers: { 'x-app-pod': 'details' } });
  });

  t.test('large bodies arrive whole both ways', async (t) => {
    const bytes = 3_000_000;
    const [up, down] = await lab.requestMany('sleep', {
      requests: [
        { kind: 'http', url: 'http://details:9080/echo', method: 'POST', body: bytes },
        { kind: 'http', url: `http://details:9080/bytes/${bytes}` },
      ],
    });
    t.match(up, { status: 200, bodyBytes: bytes, end: 'fin' });
    t.equal(hashOf(up), hashOf(down));
  });

  t.test('a program told to fail fails that many times', async (t) => {
    const url = 'http://ratings:9080/ratings/0';
    const failing = { kind: 'http', url: 'http://ratings:9080/admin/fail?count=2', method: 'POST' } as const;
    const requests = [failing, ...Array.from({ length: 3 }, () => ({ kind: 'http', url }) as const)];
    const answers = await lab.requestMany('sleep', { requests });
    t.same(answers.map(statusOf), [200, 503, 503, 200]);
  });

  t.test('the client tells an orderly end from a reset and from silence', async (t) => {
    const { server, port } = await listenIn(lab.namespace('notsleep'), { port: 0 }, (socket) => {
      socket.once('data', (word) => {
        if (word.toString() === 'end') socket.end('so long');
        if (word.toString() === 'reset') socket.resetAndDestroy();
      });
    });
    t.teardown(() => server.close());
    const ask = (send: string) => ({ kind: 'tcp', host: '10.244.1.5', port, send, timeoutMs: 1000 }) as const;
    const answers = await lab.requestMany('sleep', { requests: ['end', 'reset', 'hush'].map(ask), concurrency: 3 });
    t.match(answers, [{ end: 'fin', body: 'so long' }, { end: 'reset' }, { end: 'timeout' }]);
  });

  t.test('half-close passes: the server reads to the end before it answers', async (t) => {
    const { server, port } = await listenIn(lab.namespace('notsleep'), { port: 0 }, (socket) => {
      let bytes = 0;
      socket.on('data', (chunk) => {
        bytes += chunk.length;
      });
      socket.on('end', () => socket.end(String(bytes)));
    });
    t.teardown(() => server.close());
    const request = { kind: 'tcp', host: '10.244.1.5', port, send: 100_000, halfClose: true } as const;
    t.match(await lab.request('sleep', request), { end: 'fin', body: '100000' });
  });

  t.test('a capture shows addresses, flags and payload, and only what was asked for', async (t) => {
    using capture = startCapture(lab.namespace('details'), { interface: 'eth0', filter: (p) => p.protocol === 'tcp' });
    const socket = await connectFrom(lab.namespace('sleep'), { host: '10.244.2.6', port: 9080 });
    socket.write('GET /health HTTP/1.1\r\nhost: details\r\nx-secret: visible\r\nconnection: close\r\n\r\n');
    socket.resume();
    await once(socket, 'end');
    socket.end();
    const opening = await capture.waitFor((packet) => packet.flags.syn && !packet.flags.ack);
    t.match(opening, { source: '10.244.1.4', destination: '10.244.2.6', destinationPort: 9080, direction: 'in' });
    t.ok(capture.holds('x-secret: visible'));
    t.notOk(capture.holds('x-secret: hidden'));
    t.match(opening, { interface: 'eth0', payloadLength: 0 });
  });

  t.test('pods come and go, and services follow', async (t) => {
    await lab.addPod({ ...lab.pod('ratings'), name: 'ratings-2', ip: '10.244.2.77' });
    await lab.setService({ ...serviceOf('ratings'), endpoints: ['ratings-2'] });
    const first = await lab.request('sleep', { kind: 'http', url: 'http://ratings:9080/health' });
    t.equal(podOf(first), 'ratings-2');
    await lab.removePod('ratings-2');
    t.match(await lab.request('sleep', { kind: 'http', url: 'http://ratings:9080/health' }), { end: 'unreachable' });
    await lab.setService({ ...serviceOf('ratings'), endpoints: ['ratings'] });
    t.match(await lab.request('sleep', { kind: 'http', url: 'http://ratings:9080/health' }), { status: 200 });
    t.throws(() => lab.namespace('ratings-2'), { code: 'LAB_NO_SUCH_PLACE' });
  });

  function serviceOf(name: string) {
    const service = lab.topology.services.find((candidate) => candidate.name === name);
    if (service === undefined) throw new Error(`no service ${name}`);
    return service;
  }
}

function podOf(answer: LabAnswer): string | undefined {
  return answer.kind === 'http' ? answer.headers['x-app-pod'] : undefined;
}

function statusOf(answer: LabAnswer): number | undefined {
  return answer.kind === 'http' ? answer.status : undefined;
}

function hashOf(answer: LabAnswer | undefined): string | undefined {
  return answer === undefined || answer.kind === 'failed' ? undefined : answer.bodySha256;
}
