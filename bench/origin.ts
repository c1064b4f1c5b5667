/** nginx as the origin of every measurement: one worker, one small answer, logs off; in the foreground, as any user. */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Lab } from '../src/lab/lab.ts';

export const originPort = 9080;
/** Bytes of the answer's body. */
export const answerBytes = 350;

/** Starts one in a pod. The lab stops it. */
export async function startOrigin(lab: Lab, pod: string): Promise<void> {
  const folder = path.join(lab.directory, `origin-${pod}`);
  mkdirSync(folder);
  const file = path.join(folder, 'nginx.conf');
  writeFileSync(file, configuration(folder));
  const program = lab.spawn(pod, { name: `origin-${pod}`, argv: ['nginx', '-p', folder, '-c', file, '-e', 'stderr'] });
  await program.waitForPort(originPort);
}

function configuration(folder: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
daemon off;
master_process off;
pid ${folder}/pid;
worker_rlimit_nofile 65536;
events { worker_connections 16384; }
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  keepalive_requests 100000000;
  server {
    listen 0.0.0.0:${originPort} backlog=4096;
    location / { default_type text/plain; return 200 "${'x'.repeat(answerBytes)}"; }
  }
}
`;
}
