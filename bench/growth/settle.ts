/** Knowing when a change of the folder is in force everywhere, and when everybody is at rest again. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { askSocket } from '../../src/app/lab-admin.ts';
import { errorText } from '../../src/base/errors.ts';
import type { Proxy as Program } from '../model.ts';
import { readUsage } from '../usage.ts';
import { workload } from './padding.ts';

const limitMs = 300_000;
const pollMs = 20;
const lookMs = 500;
/** Of CPU within `lookMs`: a process that only waits. */
const restMs = 15;

/**
 * Writes workloads of a new service account, one on each node, and answers its name. A proxy of the node that asks for
 * its certificate has applied everything that was in the folder then.
 */
export function leaveMark(folder: string, nodes: readonly string[], number: number): string {
  const serviceAccount = `mark-${number}`;
  const workloads = nodes.map((node, i) =>
    workload(i, 'mark', {
      node,
      serviceAccount,
      namespace: 'default',
      workloadIps: [`100.127.255.${i}`],
      services: {},
    }),
  );
  writeFileSync(path.join(folder, 'growth-mark.json'), JSON.stringify({ workloads }));
  return serviceAccount;
}

/** Resolves when the proxy knows the identity; with the time at which it answered so. */
export async function untilKnown(socket: string, serviceAccount: string): Promise<number> {
  return await untilTrue(`${serviceAccount} known to ${socket}`, async () => {
    const { status, body } = await askSocket(socket, '/config_dump?view=certs');
    return status === 200 && body.includes(`/sa/${serviceAccount}"`);
  });
}

export async function untilReady(socket: string): Promise<number> {
  return await untilTrue(
    `readiness of ${socket}`,
    async () => (await askSocket(socket, '/healthz/ready')).status === 200,
  );
}

/** Resolves when none of the programs does anything. */
export async function untilAtRest(programs: readonly Program[]): Promise<void> {
  const used = () => readUsage(programs).map(({ cpuSeconds }) => cpuSeconds * 1000);
  const deadline = performance.now() + limitMs;
  for (let before = used(); performance.now() < deadline; ) {
    await delay(lookMs);
    const now = used();
    if (now.every((ms, i) => ms - (before[i] ?? 0) < restMs)) return;
    before = now;
  }
  throw new Error(`${programs.map(({ name }) => name).join(', ')} did not come to rest`);
}

async function untilTrue(what: string, ask: () => Promise<boolean>): Promise<number> {
  const deadline = performance.now() + limitMs;
  let last = '';
  while (performance.now() < deadline) {
    try {
      if (await ask()) return performance.now();
    } catch (error) {
      // It is busy, or does not listen yet; its last words tell why, should it stay so.
      last = errorText(error);
    }
    await delay(pollMs);
  }
  throw new Error(`waited in vain for ${what}${last === '' ? '' : `: ${last}`}`);
}
