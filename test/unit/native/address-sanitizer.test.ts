// The other tests of this folder, run on an addon built with AddressSanitizer and UndefinedBehaviorSanitizer.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const script = fileURLToPath(new URL('../../../native/test-asan.mjs', import.meta.url));

t.test('no test makes the sanitizers speak', async (t) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' });
  // 2: the compiler has no sanitizer runtime.
  if (status === 2) t.pass('sanitized tests', { skip: stderr.trim() });
  else t.equal(status, 0, `${stdout}${stderr}`);
});
