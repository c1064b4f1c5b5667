/**
 * Builds `tcpload` from tcpload/ with the C compiler (CC, else cc). What is built is named by a hash of all that goes
 * into it and appears by rename: what exists is right, and two builds at once do no harm.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { mustRun } from '../../src/lab/command.ts';

const sourceFolder = path.join(import.meta.dirname, 'tcpload');
const outputFolder = path.resolve(import.meta.dirname, '../../.cache/tcpload');
const flags = ['-std=c11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror'];

/** Path of the program, which is built unless it is there. Rejects with what the compiler said. */
export async function buildTcpload(folder = outputFolder): Promise<string> {
  const compiler = (process.env.CC || 'cc').trim().split(/\s+/) as [string, ...string[]];
  const version = await mustRun([...compiler, '--version']);
  const files = readdirSync(sourceFolder)
    .sort()
    .map((name) => path.join(sourceFolder, name));
  const hash = createHash('sha256').update(JSON.stringify([compiler, version, flags, process.arch]));
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(file));
  const output = path.join(folder, `tcpload-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(output)) return output;

  mkdirSync(folder, { recursive: true });
  const temporary = `${output}.${process.pid}.tmp`;
  try {
    const sources = files.filter((file) => file.endsWith('.c'));
    await mustRun([...compiler, ...flags, '-o', temporary, ...sources, '-lm'], { timeoutMs: 120_000 });
    renameSync(temporary, output);
  } finally {
    rmSync(temporary, { force: true });
  }
  return output;
}
