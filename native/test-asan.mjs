// Runs the addon's unit tests under AddressSanitizer and UndefinedBehaviorSanitizer: node native/test-asan.mjs
// Exit: 0 all passed, 1 a test failed or a sanitizer spoke, 2 this compiler has no sanitizer runtime.
// Leak detection is off, since Node itself frees little at its end; the tests count descriptors themselves.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, compilerCommand } from './build.mjs';

const tests = fileURLToPath(new URL('../test/unit/native/', import.meta.url));
// The first would run this script, the second builds the addon the others use.
const skipped = new Set(['address-sanitizer.test.ts', 'build.test.ts']);

function runtime(name) {
  const [command, ...words] = compilerCommand();
  const { stdout } = spawnSync(command, [...words, `-print-file-name=${name}`], { encoding: 'utf8' });
  const path = stdout?.trim() ?? '';
  // A compiler that does not have it prints the bare name.
  if (isAbsolute(path)) return path;
  console.error(`no ${name}: this compiler has no sanitizer runtime`);
  process.exit(2);
}

const preload = [runtime('libasan.so'), runtime('libubsan.so')].join(' ');
build({ sanitize: true });

const env = {
  ...process.env,
  AMBIT_NATIVE_ASAN: '1',
  LD_PRELOAD: preload,
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:exitcode=99',
  UBSAN_OPTIONS: 'print_stacktrace=1',
};

for (const name of readdirSync(tests).sort()) {
  if (!name.endsWith('.test.ts') || skipped.has(name)) continue;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [join(tests, name)], {
    env,
    encoding: 'utf8',
  });
  const spoke = /AddressSanitizer|runtime error:/.test(stdout + stderr);
  const passed = status === 0 && !spoke;
  console.log(`${passed ? 'passed' : 'failed'} ${name}`);
  if (passed) continue;
  console.error(`status ${status}, signal ${signal}\n${stdout}\n${stderr}`);
  process.exitCode = 1;
}
