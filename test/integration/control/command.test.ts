import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { unscrapedMetrics } from '../../../src/base/metrics.ts';
import { type ControlIo, runControlCommand } from '../../../src/control/command.ts';
import { createChannel } from '../../../src/rpc/channel.ts';
import { eventually } from '../../support/eventually.ts';
import { testIdentity } from '../../support/test-ca.ts';
import { runClient } from '../xds/delta-harness.ts';
import { channelTo, member, type Scope, temporaryFolder } from './control.ts';

const sleep = testIdentity('spiffe://mesh.test/ns/shop/sa/sleep');

const pod = (node: string) => `
apiVersion: v1
kind: Pod
metadata: { name: sleep-1, namespace: shop }
spec: { nodeName: ${node}, serviceAccountName: sleep }
status: { phase: Running, podIP: 10.1.0.5 }
`;

function start(t: Scope) {
  const out: string[] = [];
  const err: string[] = [];
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const io: ControlIo = {
    out: (line) => out.push(line),
    err: (line) => err.push(line),
    clock: systemClock,
    logger: silentLogger,
    metrics: unscrapedMetrics,
    stop: stop.signal,
  };
  return { io, out, err, stop };
}

t.test('control serves until it is told to stop, and a token of the command line joins', async (t) => {
  const { io, out, err, stop } = start(t);
  const state = temporaryFolder(t);
  const mesh = temporaryFolder(t);
  writeFileSync(join(mesh, 'pod.yaml'), pod('n1'));
  const env = { AMBIT_STATE_DIR: state, TRUST_DOMAIN: 'mesh.test' };
  const argv = ['--config', mesh, '--listen', '127.0.0.1', '--port', '0', '--host', 'control.test'];
  const ended = runControlCommand(argv, env, io);
  const line = await eventually('the line that says where', () => out[0]);
  const [, port, caRootFile] = /^certificates on https:\/\/127\.0\.0\.1:(\d+), trust root (.+)$/.exec(line) ?? [];
  t.equal(caRootFile, join(state, 'control', 'ca', 'root-cert.pem'));

  t.equal(await runControlCommand(['token', '--node', 'n1', '--ttl', '10m'], env, io), 0);
  t.match(err, [/^join token for node n1, once, until 20/]);
  const control = { address: { ip: '127.0.0.1', port: Number(port) }, caRootFile: caRootFile as string };
  const token = { kind: 'text', text: out[1] as string } as const;
  const { ask } = await member(t, control, { token, trustDomain: 'mesh.test' });
  t.match(await ask(sleep), { kind: 'issued' });
  writeFileSync(join(mesh, 'pod.yaml'), pod('n2'));
  await eventually('the move to another node', async () => (await ask(sleep)).kind === 'refused');

  stop.abort();
  t.equal(await ended, 0);
});

t.test('every problem of a command line is told at once, with code 2', async (t) => {
  const { io, err } = start(t);
  const argv = ['--listen', 'x', '--port', '70000', '--host', 'a b', '--trust-domain', 'Upper'];
  t.equal(await runControlCommand(argv, {}, io), 2);
  for (const part of ['--listen x', '--port 70000', '--host a b', 'trust domain Upper', '--config DIR']) {
    t.ok(
      err.some((line) => line.includes(part)),
      part,
    );
  }
  for (const wrong of [
    ['--nonsense'],
    ['token'],
    ['token', '--node', 'a', '--waypoint', 'b/c'],
    ['token', '--node', '../x'],
    ['token', '--waypoint', 'only-one'],
    ['token', '--node', 'a', '--ttl', 'soon'],
    ['token', '--node', 'a', '--ttl', '31d'],
  ]) {
    t.equal(await runControlCommand(wrong, {}, io), 2, wrong.join(' '));
  }
});

t.test('an authority that cannot be used is code 1 and a reason', async (t) => {
  const { io, err } = start(t);
  const state = temporaryFolder(t);
  const argv = ['--config', temporaryFolder(t), '--port', '0', '--state', state, '--ca-dir', join(state, 'nothing')];
  t.equal(await runControlCommand(argv, {}, io), 1);
  t.match(err, [/certificate authority in .*nothing: holds no certificate authority/]);
});

t.test('a configuration folder that is not there is code 1 and a reason', async (t) => {
  const { io, err } = start(t);
  const missing = join(temporaryFolder(t), 'mesh');
  t.equal(await runControlCommand(['--config', missing, '--state', temporaryFolder(t)], {}, io), 1);
  t.match(err, [/cannot read the configuration folder .*mesh/]);
});

t.test('help is help', async (t) => {
  const { io, out } = start(t);
  t.equal(await runControlCommand(['--help'], {}, io), 0);
  t.match(out, [/^Usage: ambit control/]);
});

t.test('control tells of the mesh: to those who joined, and in clear to this machine when asked to', async (t) => {
  const { io, out, stop } = start(t);
  const state = temporaryFolder(t);
  const mesh = temporaryFolder(t);
  writeFileSync(join(mesh, 'pod.yaml'), pod('n1'));
  const env = { AMBIT_STATE_DIR: state, TRUST_DOMAIN: 'mesh.test' };
  const argv = ['--config', mesh, '--listen', '127.0.0.1', '--port', '0', '--plaintext-port', '0'];
  const ended = runControlCommand(argv, env, io);
  await eventually('both lines', () => out.length === 2);
  const [, port, caRootFile = ''] = /127\.0\.0\.1:(\d+), trust root (.+)$/.exec(out[0] ?? '') ?? [];
  const [, plaintextPort] = /^discovery in clear on http:\/\/127\.0\.0\.1:(\d+)$/.exec(out[1] ?? '') ?? [];
  const clear = runClient(
    t,
    createChannel({
      address: { host: '127.0.0.1', port: Number(plaintextPort), tls: false },
      roots: { kind: 'system' },
    }),
  );
  await eventually('the pod', () => clear.store.workloadByAddress('', '10.1.0.5')?.node === 'n1');

  t.equal(await runControlCommand(['token', '--node', 'n1'], env, io), 0);
  const control = { address: { ip: '127.0.0.1', port: Number(port) }, caRootFile };
  const stranger = runClient(t, createChannel(channelTo(control)));
  await eventually('its refusal', () => stranger.log.lines.some((line) => line.includes('UNAUTHENTICATED')));
  const token = { kind: 'text', text: out[2] as string } as const;
  const { ca, ask } = await member(t, control, { token, trustDomain: 'mesh.test' });
  t.match(await ask(sleep), { kind: 'issued' });
  const joined = createChannel({ ...channelTo(control), clientCertificate: () => ca.credential.certificate() });
  const secure = runClient(t, joined);
  await eventually('the pod', () => secure.store.workloadByAddress('', '10.1.0.5')?.node === 'n1');

  writeFileSync(join(mesh, 'pod.yaml'), pod('n2'));
  for (const { store } of [clear, secure]) {
    await eventually('the change', () => store.workloadByAddress('', '10.1.0.5')?.node === 'n2');
  }
  t.notOk(stranger.store.complete);
  stop.abort();
  t.equal(await ended, 0);
});
