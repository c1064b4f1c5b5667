/** Programs of the lab: started in their namespace, watched line by line, stopped for certain, missed when they die. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import t from 'tap';
import { oneNodeTopology } from '../../../src/lab/bookinfo.ts';
import { createLab } from '../../../src/lab/lab.ts';
import { listenIn } from '../../../src/lab/sockets.ts';
import { eventually } from '../../support/eventually.ts';
import { insideLab } from './inside.ts';

if (await insideLab()) {
  const lines: string[] = [];
  const missed: string[] = [];
  const lab = await createLab({
    topology: oneNodeTopology(),
    apps: false,
    onLine: (name, line) => lines.push(`${name}: ${line}`),
    onUnexpectedExit: (process) => missed.push(process.name),
  });
  t.teardown(() => lab.close());
  const shell = (name: string, script: string) => lab.spawn('sleep', { name, argv: ['sh', '-c', script] });

  t.test('a program runs in its pod’s namespace and session, its lines are handed on and logged', async (t) => {
    const program = shell('lines', 'ip -o -4 address show eth0; echo done >&2; ps -o sid= -p $$; sleep 60');
    await program.waitForLine((line) => line === 'done');
    t.ok(lines.some((line) => /^lines: .*inet 10\.244\.1\.4\/32/.test(line)));
    const sid = await program.waitForLine((line) => /^\s*\d+$/.test(line));
    t.equal(Number(sid), program.pid);
    await program.stop();
    t.match(readFileSync(program.logPath, 'utf8'), 'done\n', 'by its end everything is in the log');
    t.same(missed, [], 'a stopped program is not missed');
  });

  t.test('a program that ends by itself is missed, and whoever waits for it is told its last words', async (t) => {
    const program = shell('quitter', 'echo out of luck; exit 7');
    await t.rejects(
      program.waitForLine((line) => line === 'ready'),
      {
        code: 'LAB_NOT_READY',
        message: /quitter is not ready: it ended \(exit code 7\)\nout of luck/,
      },
    );
    t.match(await program.exited, { code: 7, expected: false });
    t.same(missed, ['quitter']);
  });

  t.test('a program that cannot be started has ended', async (t) => {
    const program = lab.spawn('sleep', { name: 'absent', argv: ['ambit-no-such-program'] });
    t.match(await program.exited, { code: 127 });
    t.match(program.lines.join('\n'), 'ambit-no-such-program');
  });

  t.test('a program that ignores SIGTERM is killed with its children', async (t) => {
    const program = shell('stubborn', 'trap "" TERM; sleep 61 & echo up; while :; do sleep 1; done');
    await program.waitForLine((line) => line === 'up');
    t.match(await program.stop(50), { signal: 'SIGKILL', expected: true });
    t.notOk(program.running);
    // An orphan stays a zombie until the lab ends: process 1 here is Node, which reaps only its own children.
    await eventually('no live process of its session', () => {
      const states = spawnSync('ps', ['-o', 'stat=', '-s', String(program.pid)], { encoding: 'utf8' }).stdout.split(
        '\n',
      );
      return states.every((state) => state === '' || state.startsWith('Z'));
    });
  });

  t.test('readiness by port looks without connecting', async (t) => {
    const program = shell('waiting', 'sleep 62');
    await t.rejects(program.waitForPort(15021, { deadlineMs: 1 }), { code: 'LAB_NOT_READY' });
    let connections = 0;
    const { server } = await listenIn(lab.namespace('sleep'), { port: 15021 }, () => connections++);
    t.teardown(() => server.close());
    await program.waitForPort(15021);
    t.equal(connections, 0);
    await program.stop();
  });

  t.test('changes asked for at once are made one after the other', async (t) => {
    const pod = lab.pod('sleep');
    const extra = ['10.244.1.101', '10.244.1.102', '10.244.1.103'].map((ip, i) => ({ ...pod, name: `extra-${i}`, ip }));
    await Promise.all(extra.map((each) => lab.addPod(each)));
    t.same(lab.topology.pods.slice(-3), extra);
    await Promise.all(extra.map((each) => lab.removePod(each.name)));
    t.same(lab.topology, oneNodeTopology());
    await t.rejects(lab.addPod(pod), { code: 'LAB_TOPOLOGY' }, 'a name is used once');
  });
}
