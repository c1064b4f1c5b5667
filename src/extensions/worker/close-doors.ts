/**
 * Closes what an extension has no business with, before its module is loaded: Node's modules that reach outside the thread,
 * files outside its folder, and the functions of `process` that act on the whole process. The permission model, with which the worker
 * is started, denies files, network, programs, addons and threads by itself; this is what it leaves open. It keeps mistakes in, not
 * an attacker: docs/extensions.md says what a thread does not isolate.
 */
import { isBuiltin, registerHooks } from 'node:module';
import process from 'node:process';

/** They compute; the rest acts on the process or on the world. */
const allowedModules = new Set([
  'assert',
  'assert/strict',
  'async_hooks',
  'buffer',
  'crypto',
  'events',
  'path',
  'path/posix',
  'perf_hooks',
  'punycode',
  'querystring',
  'stream',
  'stream/consumers',
  'stream/promises',
  'stream/web',
  'string_decoder',
  'timers',
  'timers/promises',
  'url',
  'util',
  'util/types',
  'zlib',
]);

export interface Doors {
  readonly folderUrl: string;
  /** What `ambit/extension` stands for. */
  readonly apiUrl: string;
  /** Called with each file of the folder that is loaded. */
  readonly onFile: (url: string) => void;
}

export function closeDoors({ folderUrl, apiUrl, onFile }: Doors): void {
  const below = folderUrl.endsWith('/') ? folderUrl : `${folderUrl}/`;
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === 'ambit/extension') return { url: apiUrl, shortCircuit: true };
      if (isBuiltin(specifier)) {
        const name = specifier.replace(/^node:/, '');
        if (!allowedModules.has(name)) throw new Error(`an extension may not import ${specifier}`);
        return next(specifier, context);
      }
      const resolved = next(specifier, context);
      if (!resolved.url.startsWith(below)) {
        throw new Error(`an extension may not import ${specifier}: it lies outside the folder of extensions`);
      }
      onFile(resolved.url);
      return resolved.url.endsWith('.ts') ? { ...resolved, format: 'module-typescript' } : resolved;
    },
  });
  const denied = (name: string) => () => {
    throw new Error(`an extension may not call process.${name}`);
  };
  const builtin = process.getBuiltinModule.bind(process);
  const replace = (name: string, value: unknown) => {
    Object.defineProperty(process, name, { value, writable: false, configurable: false });
  };
  for (const name of ['kill', 'binding', 'dlopen', 'setuid', 'setgid', 'setSourceMapsEnabled', '_debugProcess']) {
    if (name in process) replace(name, denied(name));
  }
  replace('getBuiltinModule', (name: string) =>
    allowedModules.has(name.replace(/^node:/, '')) ? builtin(name as 'path') : undefined,
  );
}
