/**
 * Several test files in one process, one after another: `node test/runner/together.ts FILE…`. What they import is loaded and
 * compiled once: of a small file's second of processor time, nine tenths are that.
 *
 * I1: each file is a subtest named after it, and what it imports as `tap` is that subtest: its own tests, time limits and
 * teardowns are its own, and the next file is not loaded before it has ended.
 */
import { registerHooks } from 'node:module';
import path from 'node:path';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import type { Test } from 'tap';

// Tap names its folders after the words on the command line, in a single name of the file system.
const files = process.argv.splice(2);
const { default: t } = await import('tap');

const scheme = 'ambit-tap:';
const subtests = new Map<string, Test>();
const handOver = Symbol.for('ambit.subtests');
Object.assign(globalThis, { [handOver]: subtests });

registerHooks({
  resolve(specifier, context, next) {
    const { parentURL = '' } = context;
    if (specifier !== 'tap' || !subtests.has(parentURL)) return next(specifier, context);
    return { url: scheme + parentURL, shortCircuit: true };
  },
  load(url, context, next) {
    if (!url.startsWith(scheme)) return next(url, context);
    const file = JSON.stringify(url.slice(scheme.length));
    const source = `const t = globalThis[Symbol.for('ambit.subtests')].get(${file});
export default t;
export const test = t.test.bind(t);`;
    return { format: 'module', source, shortCircuit: true };
  },
});

for (const file of files) {
  t.test(file, async (t) => {
    const { href } = pathToFileURL(path.resolve(file));
    subtests.set(href, t);
    await import(href);
  });
}
