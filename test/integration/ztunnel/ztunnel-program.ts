/** ztunnel as a program of its own, for tests of whole programs on loopback: pods are addresses of 127/8. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer, type TcpNetConnectOpts } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import { within } from '../../support/eventually.ts';
import { programFile } from '../../support/program-files.ts';

const program = programFile('ztunnel');

export interface Running {
  readonly pid: number;
  output(): string;
  kill(signal: NodeJS.Signals): void;
  exitCode(): Promise<number | null>;
  admin(target: string): Promise<string>;
}

/** A ztunnel whose ports are the kernel's choice; its admin port is a socket in `folder`. */
export function startZtunnel(
  t: Test,
  folder: string,
  node: string,
  listenIp: string,
  more: Readonly<Record<string, string>>,
): Running {
  const socket = join(folder, `${node}.sock`);
  const child = spawn(process.execPath, [program, 'proxy', 'ztunnel'], {
    env: {
      PATH: process.env.PATH,
      AMBIT_ADMIN_SOCKET: socket,
      AMBIT_PRESET: 'legacy',
      AMBIT_LISTEN_IP: listenIp,
      ENABLE_ORIG_SRC: 'false',
      IPV6_ENABLED: 'false',
      ISTIO_META_DNS_CAPTURE: 'false',
      NODE_NAME: node,
      AMBIT_OUTBOUND_PORT: '0',
      AMBIT_INBOUND_PORT: '0',
      AMBIT_PLAINTEXT_PORT: '0',
      AMBIT_ADMIN_PORT: '0',
      AMBIT_METRICS_PORT: '0',
      AMBIT_READINESS_PORT: '0',
      ...more,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let out = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      out += chunk;
    });
  }
  const ended = once(child, 'close') as Promise<[number | null]>;
  return {
    pid: child.pid ?? -1,
    output: () => out,
    kill: (signal) => child.kill(signal),
    exitCode: async () => (await within('the end', ended, 10_000))[0],
    async admin(target) {
      const asked = request({ socketPath: socket, path: target, headers: { host: 'localhost' } });
      asked.end();
      const [response] = await once(asked, 'response');
      return await text(response);
    },
  };
}

/** TCP listeners of a process on every address of IPv4. */
export function listeningPorts(pid: number): number[] {
  const inodes = new Set(
    readdirSync(`/proc/${pid}/fd`).map((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      } catch {
        return undefined;
      }
    }),
  );
  const rows = readFileSync(`/proc/${pid}/net/tcp`, 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const own = rows.filter((cells) => cells[3] === '0A' && inodes.has(cells[9]) && cells[1]?.startsWith('00000000:'));
  return own.map((cells) => Number.parseInt(cells[1]?.split(':')[1] ?? '0', 16));
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '0.0.0.0');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return address === null || typeof address === 'string' ? 0 : address.port;
}

/** What comes back for `hello` until the connection is closed; empty when there is none. */
export async function echoed(t: Test, to: TcpNetConnectOpts): Promise<string> {
  const socket = connect({ ...to, allowHalfOpen: true });
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  socket.end('hello');
  let got = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    got += chunk;
  });
  await within('the end', new Promise<void>((resolve) => socket.once('close', () => resolve())), 10_000);
  return got;
}
