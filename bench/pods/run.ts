/** `npm run bench -- pods`: what a ztunnel spends on many pods of one node, and whether it gives all of it back. */
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { errorText } from '../../src/base/errors.ts';
import { enterLab, isInsideLab } from '../../src/lab/enter.ts';
import { compiledPrograms, compilePrograms } from '../programs.ts';
import { type Footprint, type LoopDelay, openNode, type PodNode } from './node.ts';

const usage = `usage: npm run bench -- pods [OPTION …]
  --count N   pods (500)
  --json      as JSON
  --help      this
`;

export interface PodFigures {
  readonly pods: number;
  readonly before: Footprint;
  readonly up: Footprint;
  readonly after: Footprint;
  readonly upMs: number;
  readonly downMs: number;
  readonly answerMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly cpuMsPerPod: number;
  readonly loopDelayMs: { readonly adding: LoopDelay; readonly removing: LoopDelay };
}

/** `argv` without the program's name. The value is the exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  let count: number;
  let json: boolean;
  try {
    const options = {
      count: { type: 'string', default: '500' },
      json: { type: 'boolean' },
      help: { type: 'boolean' },
    } as const;
    const { values } = parseArgs({ args: [...argv], options });
    if (values.help === true) {
      process.stdout.write(usage);
      return 0;
    }
    count = Number(values.count);
    json = values.json === true;
    if (!Number.isInteger(count) || count < 1 || count > 4000)
      throw new Error(`--count ${values.count}: from 1 to 4000`);
  } catch (error) {
    process.stderr.write(`bench: ${errorText(error)}\n${usage}`);
    return 2;
  }
  if (!isInsideLab()) compilePrograms();
  const entry = await enterLab();
  if (entry.kind === 'unavailable') {
    process.stderr.write(`bench: no network namespaces here: ${entry.cause}\n       ${entry.remedy}\n`);
    return 1;
  }
  const node = await openNode(count, path.join(compiledPrograms, 'ztunnel.js'));
  try {
    const figures = await measurePods(node, count);
    process.stdout.write(json ? `${JSON.stringify(figures, undefined, 2)}\n` : table(figures));
  } finally {
    await node.close();
  }
  return 0;
}

export async function measurePods(node: PodNode, count: number): Promise<PodFigures> {
  await node.loopDelay();
  const before = node.footprint();
  const cpu = node.cpuSeconds();
  let started = performance.now();
  const answers = [...(await node.addPods())].sort((a, b) => a - b);
  const upMs = performance.now() - started;
  const cpuMsPerPod = ((node.cpuSeconds() - cpu) * 1000) / count;
  const up = node.footprint();
  const adding = await node.loopDelay();
  started = performance.now();
  await node.removePods();
  const downMs = performance.now() - started;
  await node.until('every descriptor is closed', async () => node.footprint().descriptors <= before.descriptors);
  const removing = await node.loopDelay();
  const at = (share: number) => answers[Math.min(answers.length - 1, Math.floor(share * answers.length))] ?? 0;
  const answerMs = { p50: at(0.5), p99: at(0.99), max: at(1) };
  const after = node.footprint();
  return { pods: count, before, up, after, upMs, downMs, answerMs, cpuMsPerPod, loopDelayMs: { adding, removing } };
}

function table(figures: PodFigures): string {
  const { pods, before, up, after, answerMs, loopDelayMs } = figures;
  const mib = (value: number) => `${value.toFixed(1)} MiB`;
  const ms = (value: number) => `${value.toFixed(1)} ms`;
  const delay = ({ p99, max }: LoopDelay) => `p99 ${ms(p99)}, longest ${ms(max)}`;
  const rows = [
    ['pods', String(pods)],
    ['added in', `${ms(figures.upMs)}, CPU ${ms(figures.cpuMsPerPod)} each`],
    ['answers', `p50 ${ms(answerMs.p50)}, p99 ${ms(answerMs.p99)}, longest ${ms(answerMs.max)}`],
    ['event loop while adding', delay(loopDelayMs.adding)],
    ['removed in', ms(figures.downMs)],
    ['event loop while removing', delay(loopDelayMs.removing)],
    ['resident', `${mib(before.residentMiB)} → ${mib(up.residentMiB)} → ${mib(after.residentMiB)}`],
    ['resident per pod', `${(((up.residentMiB - before.residentMiB) * 1024) / pods).toFixed(1)} KiB`],
    ['descriptors', `${before.descriptors} → ${up.descriptors} → ${after.descriptors}`],
    ['descriptors per pod', ((up.descriptors - before.descriptors) / pods).toFixed(2)],
  ];
  return rows.map(([name = '', value]) => `${name.padEnd(28)}${value}\n`).join('');
}
