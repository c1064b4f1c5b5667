/** What is generated is what the .proto files say, and the numbers on the wire are Istio's. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { create, toBinary } from '@bufbuild/protobuf';
import t from 'tap';
import { WorkloadSchema } from '../../../src/proto/gen/workload_pb.js';
import { WorkloadRequestSchema } from '../../../src/proto/gen/zds_pb.js';

const proto = fileURLToPath(new URL('../../../src/proto', import.meta.url));

t.test('gen holds what the .proto files generate', async (t) => {
  const fresh = mkdtempSync(join(tmpdir(), 'ambit-proto-'));
  t.teardown(() => rmSync(fresh, { recursive: true }));
  execFileSync(process.execPath, [join(proto, 'generate.mjs'), fresh], { stdio: 'pipe' });
  const names = readdirSync(join(fresh, 'gen')).sort();
  t.same(readdirSync(join(proto, 'gen')).sort(), names, 'run node src/proto/generate.mjs');
  for (const name of names) {
    t.equal(
      readFileSync(join(proto, 'gen', name), 'utf8'),
      readFileSync(join(fresh, 'gen', name), 'utf8'),
      `${name} is current`,
    );
  }
});

t.test('the uid of a deletion has number 2, that of an addition number 1', async (t) => {
  const bytes = (payload: { case: 'add' | 'del'; value: { uid: string } }) =>
    Buffer.from(toBinary(WorkloadRequestSchema, create(WorkloadRequestSchema, { payload }))).toString('hex');
  t.equal(bytes({ case: 'del', value: { uid: 'x' } }), '1203120178');
  t.equal(bytes({ case: 'add', value: { uid: 'x' } }), '0a030a0178');
});

t.test('a workload has its uid in field 20 and its services in field 22', async (t) => {
  const numbers = Object.fromEntries(WorkloadSchema.fields.map((field) => [field.name, field.number]));
  t.match(numbers, { uid: 20, name: 1, hostname: 21, network_gateway: 19, services: 22, capacity: 27 });
});
