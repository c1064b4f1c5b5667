/**
 * Several test files in one process, one after another: `node test/runner/together.ts FILE…`. What they import is loaded and
 * compiled once: of a small file's second of processor time, nine tenths are that.
 *
 * I1: each file is a subtest named after it, and what it imports as `tap` is that subtest: its own tests, time limits and
 * teardowns are its own, and the next file is not loaded before it has ended.
 * I2: what all files import (test/support) has the subtest of the file that is under way for `tap`.
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
const urls = new Set(files.map(urlOf));
const subtests = { of: new Map<string, Test>(), current: t as Test };
Object.assign(globalThis, { [Symbol.for('ambit.subtests')]: subtests });

const ofFile = (url: string) => `const t = globalThis[Symbol.for('ambit.subtests')].of.get(${JSON.stringify(url)});
export default t;
export const test = t.test.bind(t);`;

const ofCurrent = `const subtests = globalThis[Symbol.for('ambit.subtests')];
export default new Proxy({}, {
  get(_, name) {
    const value = subtests.current[name];
    return typeof value === 'function' ? value.bind(subtests.current) : value;
  },
  set: (_, name, value) => Reflect.set(subtests.current, name, value),
});
export const test = (...given) => subtests.current.test(...given);`;

registerHooks({
  resolve(specifier, context, next) {
    const { parentURL = '' } = context;
    if (specifier !== 'tap' || parentURL.includes('/node_modules/')) return next(specifier, context);
    return { url: scheme + (urls.has(parentURL) ? parentURL : ''), shortCircuit: true };
  },
  load(url, context, next) {
    if (!url.startsWith(scheme)) return next(url, context);
    const file = url.slice(scheme.length);
    return { format: 'module', source: file === '' ? ofCurrent : ofFile(file), shortCircuit: true };
  },
});

const limitMs = Number(process.env.TAP_TIMEOUT ?? 30) * 1000;
t.setTimeout(files.length * limitMs);
for (const file of files) {
  t.test(file, { timeout: limitMs }, async (t) => {
    const url = urlOf(file);
    subtests.of.set(url, t);
    subtests.current = t;
    await import(url);
  });
}

function urlOf(file: string): string {
  return pathToFileURL(path.resolve(file)).href;
}
