/**
 * The origin of every measurement: nginx with one small answer (HTTP/1.1 and HTTP/2; one worker, logs off), what echoes
 * bytes, and iperf3. All in the foreground, as any user, and the same for every system.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Lab } from '../src/lab/lab.ts';
import { buildTcpload } from './loads/build.ts';
import { widenSourcePorts } from './loads/source-ports.ts';
import { ports } from './model.ts';

/** Bytes of the answer's body. */
export const answerBytes = 350;

/** Starts all of `ports` in a pod; settles when they are listened on. The lab stops them. */
export async function startOrigin(lab: Lab, pod: string): Promise<void> {
  // A proxy may dial from inside this pod.
  await widenSourcePorts(lab.namespace(pod));
  const folder = path.join(lab.directory, `origin-${pod}`);
  mkdirSync(folder);
  const file = path.join(folder, 'nginx.conf');
  writeFileSync(file, configuration(folder));
  const start = async (name: string, argv: readonly [string, ...string[]], ...expected: readonly number[]) => {
    const program = lab.spawn(pod, { name: `${name}-${pod}`, argv });
    for (const port of expected) await program.waitForPort(port);
  };
  await Promise.all([
    start('nginx', ['nginx', '-p', folder, '-c', file, '-e', 'stderr'], ports.http, ports.h2c),
    start('echo', [await buildTcpload(), 'echo', '0.0.0.0', String(ports.echo)], ports.echo),
    start('iperf3', ['iperf3', '-s', '-p', String(ports.bulk)], ports.bulk),
  ]);
}

function configuration(folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
daemon off;
# It gives its folders to a user; where the lab was entered as an ordinary user there is none but root.
user root root;
master_process off;
pid ${folder}/pid;
worker_rlimit_nofile 65536;
events { worker_connections 16384; }
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  keepalive_requests 100000000;
  server {
    listen 0.0.0.0:${ports.http} backlog=4096;
    listen 0.0.0.0:${ports.h2c} http2 backlog=4096;
    location / { default_type text/plain; return 200 "${'x'.repeat(answerBytes)}"; }
  }
}
`;
}
