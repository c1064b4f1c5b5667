/** `ambit redirect` as its user meets it: exit status, output and messages. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Test, test } from 'tap';
import { runRedirectCommand } from '../../../src/redirect/command.ts';
import type { Runner } from '../../../src/redirect/runner.ts';
import { createFakeMachine } from './fake-machine.ts';

const nodeOptions = '--ztunnel-address 10.244.1.2 --ztunnel-device vethza --host-address 10.244.1.1';

interface Outcome {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

async function run(line: string, runner?: Runner, env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
  let out = '';
  let err = '';
  const status = await runRedirectCommand(line.split(' '), {
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    env,
    ...(runner === undefined ? {} : { runner }),
  });
  return { status, out, err };
}

async function stateDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'ambit-redirect-'));
  t.teardown(() => rm(directory, { recursive: true }));
  return directory;
}

test('all bad arguments are listed at once, with status 2', async (t) => {
  const { status, err } = await run('apply node --foo --mtu x --tunnel gre --member 1.2.3=x --set a.b=1', undefined, {
    AMBIT_IPTABLES: 'both',
  });
  t.equal(status, 2);
  for (const part of [
    '--foo',
    '--mtu',
    '--tunnel',
    '1.2.3',
    'a.b',
    'AMBIT_IPTABLES',
    '--ztunnel-address',
    '--host-address',
  ]) {
    t.match(err, part);
  }
  t.match((await run('move pods')).err, /verb cannot be "move"[\s\S]*PROGRAM cannot be "pods"/);
  t.equal((await run('show host --dns')).status, 2, 'an option of another program');
  t.equal((await run('show inpod host')).status, 2);
});

test('help goes to standard output', async (t) => {
  const { status, out } = await run('--help');
  t.equal(status, 0);
  t.match(out, /Usage: ambit redirect apply\|remove\|show PROGRAM/);
});

test('show prints the commands with their reasons, and the overridden numbers', async (t) => {
  const options = `${nodeOptions} --member 10.244.1.4=vethsl --set node.tables.outbound=201 --set node.marks.outbound=0x1000`;
  const { status, out } = await run(`show node ${options}`);
  t.equal(status, 0);
  t.match(
    out,
    '# captured outbound traffic goes to ztunnel with its destination untouched\nip route add default via 192.168.127.2 dev istioout table 201\n',
  );
  t.match(out, 'iptables -t mangle -I PREROUTING 1 -j ztunnel-PREROUTING');
  t.match(out, 'MARK --set-xmark 0x1000/0x1000');
  t.match(out, 'ipset add ztunnel-pods-ips 10.244.1.4\n');
  t.match((await run('show host --set host.tproxyMark=0x800/0xf00')).out, '--tproxy-mark 0x800/0xf00');
  t.equal((await run('show host --set host.tproxyMark=0x800/0x7')).status, 2, 'a value outside its mask');
});

test('apply, apply again, remove, remove again', async (t) => {
  const machine = createFakeMachine(['lo', 'vethza', 'vethsl']);
  const before = machine.state();
  const directory = await stateDirectory(t);
  const env = { AMBIT_REDIRECT_STATE_DIR: directory };
  const apply = `apply node ${nodeOptions} --tunnel vxlan --membership ipset --member 10.244.1.4=vethsl`;
  t.match(await run(apply, machine, env), { status: 0, out: /node: applied, \d+ changes/ });
  t.match(await run(apply, machine, env), { status: 0, out: 'node: nothing to change\n' });
  t.match(await run('remove node', machine, env), { status: 0, out: /node: removed, \d+ changes/ });
  t.equal(machine.state(), before);
  t.match(await run('remove node', machine, env), { status: 0, out: /nothing is recorded/ });
});

test('a lost record does not keep remove from going by options and --force', async (t) => {
  const machine = createFakeMachine(['lo']);
  const before = machine.state();
  t.equal((await run(`apply inpod --dns --state-dir ${await stateDirectory(t)}`, machine)).status, 0);
  const elsewhere = await stateDirectory(t);
  t.match(await run(`remove inpod --state-dir ${elsewhere}`, machine), { status: 0, out: /nothing is recorded/ });
  t.match(await run(`remove inpod --dns --force --state-dir ${elsewhere}`, machine), { status: 0, out: /removed/ });
  t.equal(machine.state(), before);
  t.equal((await run(`remove node --force --state-dir ${elsewhere}`, machine)).status, 2, 'force needs the options');
});

test('a command that fails is named with what it said and what to do, with status 1', async (t) => {
  const machine = createFakeMachine(['lo']);
  const state = `--state-dir ${await stateDirectory(t)}`;
  const failingWith = (status: number, stderr: string): Runner => ({
    run: async (command) => (command.program === 'ip' ? { status, stdout: '', stderr } : machine.run(command)),
  });
  const denied = await run(`apply inpod ${state}`, failingWith(2, 'RTNETLINK answers: Operation not permitted'));
  t.equal(denied.status, 1);
  t.match(denied.err, /`ip -N -json route show table 100` failed with status 2: RTNETLINK.*\n.*CAP_NET_ADMIN/);
  const missing = await run(`apply inpod ${state}`, failingWith(127, 'ip: command not found'));
  t.match(missing.err, /Install the package iproute2, which has `ip`/);
  t.match((await run('show inpod --netns /nowhere')).status, 0, 'show asks nothing of the machine');
  t.match(await run(`apply inpod --netns /nowhere ${state}`), { status: 1, err: /nowhere is no network namespace/ });
});
