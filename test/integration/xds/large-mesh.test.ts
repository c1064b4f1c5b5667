/** The first state of a mesh, applied as the client applies it: in turns that are short by what is done in each. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import t from 'tap';
import { addresses } from '../../../bench/scale/mesh.ts';
import { MeshStore } from '../../../src/mesh/store.ts';
import { applyResponse } from '../../../src/xds/apply-response.ts';
import { splitDeltaResponse } from '../../../src/xds/delta-response.ts';
import { DeltaType } from '../../../src/xds/delta-type.ts';
import { Interner } from '../../../src/xds/interner.ts';
import { addressType } from '../../../src/xds/resource-types.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const size = { workloads: 5000, services: 1000, policies: 0 };

function firstResponse(): Uint8Array {
  const writer = new BinaryWriter();
  for (const { name, value } of addresses(size)) {
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string('1');
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(addressType);
    writer.tag(2, WireType.LengthDelimited).bytes(value).join();
    writer.tag(3, WireType.LengthDelimited).string(name).join();
  }
  writer.tag(4, WireType.LengthDelimited).string(addressType).tag(5, WireType.LengthDelimited).string('nonce');
  return writer.finish();
}

/** Every look at it is 10 µs later, about what a record takes. */
class WorkClock extends FakeClock {
  override nowMs(): number {
    this.advance(0.01);
    return super.nowMs();
  }
}

t.test('a mesh is put in force over many turns, none of which does more than a slice of it', async (t) => {
  const response = splitDeltaResponse(firstResponse());
  if (response.kind === 'malformed') throw new Error(response.reason);
  const store = new MeshStore();
  const told: number[] = [];
  store.onChange(({ workloads, services }) => told.push(workloads.length + services.length));
  const known = () => [...store.workloads()].length + [...store.services()].length;
  const turns: number[] = [];
  let done = false;
  const watch = () => {
    turns.push(known());
    if (!done) setImmediate(watch);
  };
  setImmediate(watch);
  const target = {
    store,
    interner: new Interner(),
    slices: { clock: new WorkClock() },
    unreadablePolicy: 'deny',
  } as const;
  await applyResponse(response, addressType, new DeltaType(), target);
  done = true;
  t.equal(known(), size.workloads + size.services);
  const perTurn = turns.map((at, i) => at - (turns[i - 1] ?? 0));
  // A slice is 1 ms, which is a hundred records here; what was decoded is put in force at most a batch later.
  t.ok(Math.max(...perTurn) <= 200, `${Math.max(...perTurn)} records in a turn`);
  t.ok(Math.max(...told) <= 100, 'and listeners hear of few at once');
  t.ok(turns.length > 50, `${turns.length} turns`);
});
