// The build script: what is missing is said plainly, what is up to date is left alone.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const script = fileURLToPath(new URL('../../../native/build.mjs', import.meta.url));

function build(environment: NodeJS.ProcessEnv, ...options: string[]) {
  return spawnSync(process.execPath, [script, ...options], {
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  });
}

t.test('an addon that is up to date is not built again', async (t) => {
  t.equal(build({}).status, 0);
  t.match(build({}), { status: 0, stdout: /^up to date .*node-tproxy-native\.node\n$/ });
});

t.test('a missing compiler, missing headers and unknown options end with 1 and a remedy', async (t) => {
  const empty = mkdtempSync(join(tmpdir(), 'native-'));
  t.teardown(() => rmSync(empty, { recursive: true }));
  t.match(build({ CC: join(empty, 'no-compiler') }), { status: 1, stderr: /no C compiler.*set CC\n$/ });
  t.match(build({ AMBIT_NODE_INCLUDE: empty }), { status: 1, stderr: /no node_api\.h.*AMBIT_NODE_INCLUDE\n$/ });
  t.match(build({}, '--fast'), { status: 1, stderr: /unknown option --fast/ });
});
