/** Profiles on demand, read back with pprof's own schema. */
import { request } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { fromBinary } from '@bufbuild/protobuf';
import t, { type Test } from 'tap';
import { heapPprof } from '../../../src/admin/pprof.ts';
import { startAdmin } from '../../../src/admin/server.ts';
import { silentLogger } from '../../../src/base/logger.ts';
import { type Profile, ProfileSchema } from '../../../src/proto/gen/profile_pb.js';
import { LogLevels } from '../../../src/telemetry/levels.ts';
import { CellRegistry } from '../../../src/telemetry/metrics.ts';
import { eventually } from '../../support/eventually.ts';

async function start(t: Test) {
  const running = await startAdmin(
    {
      readiness: { pending: () => [] },
      metrics: new CellRegistry(),
      levels: new LogLevels(),
      views: [],
      quit: () => {},
    },
    { admin: { kind: 'tcp', host: '127.0.0.1', port: 0 }, metrics: undefined, readiness: undefined },
    silentLogger,
  );
  t.teardown(() => running.close());
  const port = running.ports.admin ?? 0;
  const ask = (path: string, method = 'GET') =>
    new Promise<{ status: number | undefined; body: Buffer }>((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path, method, agent: false }, (response) => {
        buffer(response).then((body) => resolve({ status: response.statusCode, body }), reject);
      });
      sent.on('error', reject);
      sent.end();
    });
  return Object.assign(ask, { port });
}

function decode(body: Buffer): Profile {
  return fromBinary(ProfileSchema, gunzipSync(body));
}

const types = (profile: Profile) =>
  profile.sampleType.map(({ type, unit }) => [profile.stringTable[Number(type)], profile.stringTable[Number(unit)]]);

function functionNames(profile: Profile): Set<string | undefined> {
  return new Set(profile.function.map(({ name }) => profile.stringTable[Number(name)]));
}

/** Every id names something, as pprof's own check demands. */
function isSound(profile: Profile): boolean {
  const functions = new Set(profile.function.map(({ id }) => id));
  const locations = new Set(profile.location.map(({ id }) => id));
  return (
    profile.stringTable[0] === '' &&
    profile.location.every(({ line }) => line.every(({ functionId }) => functions.has(functionId))) &&
    profile.sample.every(
      ({ locationId, value }) =>
        value.length === profile.sampleType.length && locationId.every((id) => locations.has(id)),
    )
  );
}

function spinForProfile(untilMs: number): number {
  let sum = 0;
  while (performance.now() < untilMs) sum += Math.sqrt(sum + 1);
  return sum;
}

t.test('a CPU profile names what ran, in pprof’s form; another meanwhile is 409', async (t) => {
  const ask = await start(t);
  const first = ask('/debug/pprof/profile?seconds=1&frequency=1000');
  const spin = setInterval(() => spinForProfile(performance.now() + 20), 25);
  t.teardown(() => clearInterval(spin));
  // The first must have begun.
  await ask('/debug/pprof/heap/profiling');
  t.equal((await ask('/debug/pprof/profile?seconds=1')).status, 409);
  const { status, body } = await first;
  clearInterval(spin);
  t.equal(status, 200);
  const profile = decode(body);
  t.ok(isSound(profile));
  t.strictSame(types(profile), [
    ['samples', 'count'],
    ['cpu', 'nanoseconds'],
  ]);
  t.equal(profile.period, 1_000_000n);
  t.ok(profile.durationNanos > 900_000_000n);
  t.ok(functionNames(profile).has('spinForProfile'));
  t.notOk(functionNames(profile).has('(root)'));
});

t.test('who leaves before the end makes room for the next', async (t) => {
  const ask = await start(t);
  const leaving = request({
    host: '127.0.0.1',
    port: ask.port,
    path: '/debug/pprof/profile?seconds=300',
    agent: false,
  });
  leaving.on('error', () => {});
  leaving.end();
  await eventually('it is being taken', async () => (await ask('/debug/pprof/heap?seconds=1')).status === 409);
  leaving.destroy();
  await eventually('there is room', async () => (await ask('/debug/pprof/heap?seconds=1')).status === 200);
});

t.test('the same in V8’s form, and wrong parameters are 400', async (t) => {
  const ask = await start(t);
  const { body } = await ask('/debug/pprof/profile.cpuprofile?seconds=1');
  t.ok(JSON.parse(body.toString()).nodes.length > 0);
  for (const query of ['seconds=0', 'seconds=301', 'frequency=0', 'frequency=1001', 'seconds=x']) {
    t.equal((await ask(`/debug/pprof/profile?${query}`)).status, 400, query);
  }
});

t.test('a heap profile shows what was allocated and lives, and nothing of what is in it', async (t) => {
  const ask = await start(t);
  t.equal((await ask('/debug/pprof/heap/profiling?activate=maybe', 'POST')).status, 400);
  t.equal(
    (await ask('/debug/pprof/heap/profiling?activate=true')).body.toString(),
    'inactive\n',
    'GET changes nothing',
  );
  t.equal((await ask('/debug/pprof/heap/profiling?activate=true', 'POST')).body.toString(), 'active\n');
  const kept = keepForProfile();
  const { body } = await ask('/debug/pprof/heap');
  t.ok(kept.length > 0);
  const profile = decode(body);
  t.ok(isSound(profile));
  t.strictSame(types(profile), [
    ['inuse_objects', 'count'],
    ['inuse_space', 'bytes'],
  ]);
  t.ok(functionNames(profile).has('keepForProfile'));
  t.notMatch(gunzipSync(body).toString('latin1'), /not-to-be-seen/);
  t.equal((await ask('/debug/pprof/heap/profiling?activate=false', 'POST')).body.toString(), 'inactive\n');
});

t.test('sizes and counts of a heap profile are summed by where they were allocated', async (t) => {
  const frame = (functionName: string) => ({ functionName, url: 'file:///a.js', lineNumber: 4 });
  const leaf = { id: 3, callFrame: frame('leaf'), selfSize: 300, children: [] };
  const head = {
    id: 1,
    callFrame: frame('(root)'),
    selfSize: 0,
    children: [{ id: 2, callFrame: frame('outer'), selfSize: 10, children: [leaf] }],
  };
  const profile = decode(
    Buffer.from(await heapPprof({ head, samples: [{ nodeId: 3 }, { nodeId: 3 }, { nodeId: 2 }] }, 1024, 5)),
  );
  const [outer, inner] = profile.sample;
  t.strictSame(
    [outer?.value, inner?.value],
    [
      [1n, 10n],
      [2n, 300n],
    ],
  );
  t.equal(inner?.locationId.length, 2, 'innermost first, without the root');
  const innermost = profile.location.find(({ id }) => id === inner?.locationId[0]);
  const named = profile.function.find(({ id }) => id === innermost?.line[0]?.functionId);
  t.equal(profile.stringTable[Number(named?.name)], 'leaf');
  t.equal(innermost?.line[0]?.line, 5n);
});

/** Allocations enough to be sampled. */
function keepForProfile(): string[][] {
  return Array.from({ length: 2000 }, (_, i) => Array.from({ length: 100 }, (_, j) => `not-to-be-seen-${i}-${j}`));
}
