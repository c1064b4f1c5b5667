// Watching a descriptor Node refuses: readiness, pausing, errors, and closing at every awkward moment.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  closeFd,
  seqpacketAccept,
  seqpacketConnect,
  seqpacketListen,
  seqpacketReceive,
  seqpacketSend,
  watchFd,
} from 'node-tproxy-native';
import t from 'tap';
import { descriptorsLeftOpen } from './descriptors.ts';

const folder = mkdtempSync(join(tmpdir(), 'native-'));
t.teardown(() => rmSync(folder, { recursive: true }));
let sockets = 0;

function pair(): [number, number] {
  const path = join(folder, `socket${sockets++}`);
  const listener = seqpacketListen(path, 4);
  const client = seqpacketConnect(path);
  const server = seqpacketAccept(listener);
  closeFd(listener);
  if (server === undefined) throw new Error('nothing to accept');
  return [client, server];
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

t.test('a listener, a record and the end each wake the watcher', async (t) => {
  const path = join(folder, 'listener');
  const listener = seqpacketListen(path, 1);
  const accepted = Promise.withResolvers<number>();
  const acceptor = watchFd(listener, 'r', (status, readable, writable) => {
    t.same([status, readable, writable], [0, true, false]);
    accepted.resolve(seqpacketAccept(listener) ?? -1);
    acceptor.close();
    closeFd(listener);
  });
  const client = seqpacketConnect(path);
  const server = await accepted.promise;

  const seen: string[] = [];
  const ended = Promise.withResolvers<void>();
  const watcher = watchFd(server, 'r', () => {
    const record = seqpacketReceive(server, 100, 0);
    seen.push(record?.eof ? 'end' : String(record?.data));
    if (record?.eof) {
      watcher.close();
      ended.resolve();
    } else closeFd(client);
  });
  seqpacketSend(client, Buffer.from('hello'));
  await ended.promise;
  t.same(seen, ['hello', 'end']);
  closeFd(server);
});

t.test('writability is told, and pausing stops the calls', async (t) => {
  const [left, right] = pair();
  const woken = Promise.withResolvers<void>();
  let calls = 0;
  const watcher = watchFd(left, 'rw', (status, readable, writable) => {
    calls++;
    t.same([status, readable, writable], [0, false, true]);
    watcher.setEvents('none');
    woken.resolve();
  });
  await woken.promise;
  await turn();
  await turn();
  t.equal(calls, 1);
  const again = Promise.withResolvers<void>();
  const reader = watchFd(right, 'r', () => {
    reader.close();
    again.resolve();
  });
  seqpacketSend(left, Buffer.from('x'));
  await again.promise;
  t.equal(calls, 1);
  watcher.close();
  closeFd(left);
  closeFd(right);
});

t.test('a descriptor in error is told by its status; reading it gives the cause', async (t) => {
  const [left, right] = pair();
  const failed = Promise.withResolvers<number>();
  const watcher = watchFd(left, 'r', (status) => {
    watcher.close();
    failed.resolve(status);
  });
  seqpacketSend(left, Buffer.from('unread'));
  closeFd(right);
  t.ok((await failed.promise) < 0);
  t.throws(() => seqpacketReceive(left, 10, 0), { code: 'ECONNRESET' });
  closeFd(left);
});

t.test('a closed watcher stays closed, whoever closes it and how often', async (t) => {
  const [left, right] = pair();
  const watcher = watchFd(left, 'w', () => t.fail('called after close'));
  watcher.close();
  watcher.close();
  watcher.ref();
  watcher.unref();
  t.throws(() => watcher.setEvents('r'), { code: 'EBADF', syscall: 'uv_poll_start' });
  await turn();
  await turn();
  closeFd(left);
  closeFd(right);
});

t.test('the descriptor may be closed and its number used again at once', async (t) => {
  const [left, right] = pair();
  watchFd(left, 'r', () => t.fail('the old watcher was called')).close();
  closeFd(left);
  const [next, other] = pair();
  const woken = Promise.withResolvers<void>();
  const watcher = watchFd(next, 'w', () => {
    watcher.close();
    woken.resolve();
  });
  await woken.promise;
  for (const fd of [right, next, other]) closeFd(fd);
});

t.test('microtasks and ticks of a callback run before the next callback', async (t) => {
  const [left, right] = pair();
  const order: string[] = [];
  const done = Promise.withResolvers<void>();
  const watcher = watchFd(left, 'w', () => {
    order.push('call');
    process.nextTick(() => order.push('tick'));
    queueMicrotask(() => order.push('microtask'));
    if (order.length > 3) {
      watcher.close();
      done.resolve();
    }
  });
  await done.promise;
  t.same(order.slice(0, 4), ['call', 'tick', 'microtask', 'call']);
  closeFd(left);
  closeFd(right);
});

t.test('what cannot be watched is refused by name', async (t) => {
  const [left, right] = pair();
  const file = openSync(fileURLToPath(import.meta.url), 'r');
  t.throws(() => watchFd(file, 'r', () => {}), { code: 'EPERM', syscall: 'uv_poll_init' });
  t.throws(() => watchFd(2 ** 30, 'r', () => {}), { code: 'EBADF', syscall: 'uv_poll_init' });
  const watcher = watchFd(left, 'r', () => {});
  t.throws(() => watchFd(left, 'r', () => {}), { code: 'EEXIST', syscall: 'uv_poll_init' });
  t.throws(() => Reflect.apply(Reflect.get(watcher, 'close'), {}, []), {
    code: 'ERR_INVALID_ARG_TYPE',
    message: /"this"/,
  });
  t.throws(() => Reflect.apply(Reflect.get(watcher, 'ref'), undefined, []), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => Reflect.apply(Reflect.get(watcher, 'setEvents'), watcher, ['x']), { code: 'ERR_OUT_OF_RANGE' });
  watcher.close();
  for (const fd of [file, left, right]) closeFd(fd);
});

t.test('many watchers opened and closed leave no descriptor behind', async (t) => {
  const left = await descriptorsLeftOpen(50, async () => {
    const [left, right] = pair();
    const woken = Promise.withResolvers<void>();
    const watcher = watchFd(left, 'w', () => woken.resolve());
    await woken.promise;
    watcher.close();
    closeFd(left);
    closeFd(right);
  });
  t.equal(left, 0);
});

/** Runs a program with `pair()` ready and gives how it ended. */
async function run(program: string, ...flags: string[]) {
  const prelude = `
    import * as native from 'node-tproxy-native';
    const path = ${JSON.stringify(join(folder, `socket${sockets++}`))};
    const listener = native.seqpacketListen(path, 1);
    const left = native.seqpacketConnect(path);
    const right = native.seqpacketAccept(listener);
  `;
  const child = spawn(process.execPath, [...flags, '--input-type=module', '-e', prelude + program], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text) => output.push(String(text)));
  child.stderr.setEncoding('utf8').on('data', (text) => output.push(String(text)));
  const [code, signal] = await once(child, 'close');
  return { code, signal, output: output.join('') };
}

t.test('an unreferenced watcher lets the process end', async (t) => {
  const ended = await run(`native.watchFd(left, 'r', () => {}).unref(); console.log('idle');`);
  t.match(ended, { code: 0, output: 'idle\n' });
});

t.test('a process may exit with open watchers, in their callbacks too', async (t) => {
  t.match(await run(`native.watchFd(left, 'r', () => {}); process.exit(3);`), { code: 3, signal: null });
  t.match(await run(`native.watchFd(left, 'w', () => process.exit(4));`), { code: 4, signal: null });
});

t.test('an open watcher is not collected as garbage, a closed one is', async (t) => {
  const ended = await run(
    `
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    const watchers = [];
    const collected = new FinalizationRegistry(() => { console.log('collected'); });
    (() => {
      const watcher = native.watchFd(right, 'r', () => {});
      collected.register(watcher, 0);
      watcher.close();
    })();
    let woken = false;
    native.watchFd(left, 'r', function () { woken = true; this.close(); });
    for (let round = 0; round < 5; round++) { await turn(); gc(); }
    native.seqpacketSend(right, Buffer.from('x'));
    while (!woken) await turn();
    console.log('woken');
    `,
    '--expose-gc',
  );
  t.match(ended, { code: 0, output: 'collected\nwoken\n' });
});

t.test('what a callback throws is an uncaught exception of the process', async (t) => {
  const ended = await run(`
    process.on('uncaughtException', (error) => { console.log('caught ' + error.message); watcher.close(); });
    const watcher = native.watchFd(left, 'w', () => { throw new Error('from the callback'); });
  `);
  t.match(ended, { code: 0, output: 'caught from the callback\n' });
});
