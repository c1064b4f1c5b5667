/**
 * Writes `gen/` anew from the .proto files beside it, or into another folder: `node src/proto/generate.mjs [DIR]`.
 * Works offline: buf and protoc-gen-es come from node_modules. A unit test fails when `gen/` is not what this writes.
 */
import { spawnSync } from 'node:child_process';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const binaries = resolve(here, '../../node_modules/.bin');
const target = process.argv[2] === undefined ? here : resolve(process.argv[2]);

const run = spawnSync(join(binaries, 'buf'), ['generate', '--template', 'buf.gen.yaml', '--output', target], {
  cwd: here,
  stdio: 'inherit',
  // protoc-gen-es is a script with `#!/usr/bin/env node`: it must find the Node that runs this one.
  env: { ...process.env, PATH: [binaries, dirname(process.execPath), process.env.PATH].join(delimiter) },
});
if (run.error !== undefined) console.error(`buf did not start: ${run.error.message}`);
process.exitCode = run.status ?? 1;
