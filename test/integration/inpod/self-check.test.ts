/** Without the privileges of in-pod mode the program says so at once, and how to give them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import t from 'tap';
import { programFile } from '../../support/program-files.ts';
import { runProgram } from '../../support/programs.ts';

const program = programFile('ztunnel');

t.test('a ztunnel of pods that may not enter their namespaces ends with 1 and names the capabilities', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ambit-inpod-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'mesh.yaml'), 'workloads: []\n');
  const variables = {
    LOCAL_XDS_PATH: join(folder, 'mesh.yaml'),
    AMBIT_CA_DIR: join(folder, 'ca'),
    INPOD_UDS: join(folder, 'zds'),
    NODE_NAME: 'node-a',
    AMBIT_ADMIN_PORT: '0',
    AMBIT_METRICS_PORT: '0',
    AMBIT_READINESS_PORT: '0',
  };
  const given = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  // Root has its capabilities by the bounding set; anyone else has none.
  const drop = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : [];
  const [command, ...rest] = [...drop, 'env', ...given, process.execPath, program, 'proxy', 'ztunnel'];
  const { code, stdout } = await runProgram([command, ...rest]);
  t.equal(code, 1);
  t.match(stdout.toString(), /sockets cannot be made in pods' network namespaces: .*EPERM/);
  t.match(stdout.toString(), /NET_ADMIN, SYS_ADMIN and NET_RAW/);
});
