/** Files of access logs: opened when needed, bounded in number, and what they do not take is counted. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../../src/base/clock.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { LogFiles } from '../../../src/telemetry/log-files.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';
import { eventually } from '../../support/eventually.ts';

function setup(t: Test) {
  const folder = mkdtempSync(path.join(tmpdir(), 'ambit-log-files-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const metrics = new CellRegistry();
  const own: string[] = [];
  const files = new LogFiles({
    output: { write: (line) => void own.push(line), flush: () => {} },
    clock: systemClock,
    logger: silentLogger,
    metrics,
  });
  const lost = () => metrics.counter('ambit_access_log_lost_total', '').value;
  return { folder, files, own, lost };
}

t.test('lines go to their file, behind what is there, and to the own output for standard output', async (t) => {
  const { folder, files, own } = setup(t);
  const file = path.join(folder, 'access.log');
  for (const line of ['one\n', 'two\n']) files.write(file, line);
  await eventually('the lines', () => {
    try {
      return readFileSync(file, 'utf8') === 'one\ntwo\n';
    } catch {
      // It is not there yet.
      return false;
    }
  });
  files.write('/dev/stdout', 'three\n');
  t.same(own, ['three\n']);
  files.flush();
});

t.test('a file that cannot be opened loses its lines, and it is counted', async (t) => {
  const { folder, files, lost } = setup(t);
  const file = path.join(folder, 'missing', 'access.log');
  files.write(file, 'one\n');
  await eventually('the loss', () => {
    files.write(file, 'more\n');
    return lost() > 0;
  });
});

t.test('no more than sixteen files are open', async (t) => {
  const { folder, files, lost } = setup(t);
  for (let i = 0; i < 20; i++) files.write(path.join(folder, String(i)), 'x\n');
  t.equal(lost(), 4);
  // They are opened meanwhile; the folder is removed only then.
  await eventually('sixteen files', () => readdirSync(folder).length === 16);
  files.flush();
});
