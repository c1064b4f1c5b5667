/**
 * V8's profiles as pprof's protobuf, gzipped, which `go tool pprof` and the viewers built on it read. Names of functions
 * and files are all there is in them: no values, so nothing of a key or of traffic.
 */
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { create, toBinary } from '@bufbuild/protobuf';
import { ProfileSchema } from '../proto/gen/profile_pb.js';

/** As the inspector protocol names them. */
export interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: CallFrame;
    readonly children?: readonly number[];
  }[];
  readonly startTime: number;
  readonly endTime: number;
  /** Node of each sample, and microseconds since the one before. */
  readonly samples?: readonly number[];
  readonly timeDeltas?: readonly number[];
}

export interface HeapNode {
  readonly id: number;
  readonly callFrame: CallFrame;
  /** Bytes. */
  readonly selfSize: number;
  readonly children: readonly HeapNode[];
}

export interface HeapProfile {
  readonly head: HeapNode;
  readonly samples: readonly { readonly nodeId: number }[];
}

interface Kinds {
  readonly sampleType: { readonly type: bigint; readonly unit: bigint }[];
  readonly periodType: { readonly type: bigint; readonly unit: bigint };
  readonly period: bigint;
  readonly timeNanos: bigint;
  readonly durationNanos?: bigint;
}

interface FunctionRecord {
  readonly id: bigint;
  readonly name: bigint;
  readonly systemName: bigint;
  readonly filename: bigint;
  readonly startLine: bigint;
}

interface LocationRecord {
  readonly id: bigint;
  readonly mappingId: bigint;
  readonly line: { readonly functionId: bigint; readonly line: bigint }[];
}

const compress = promisify(gzip);

/** `wallMs`: when it ended. `frequency`: samples a second that were asked for. */
export async function cpuPprof(profile: CpuProfile, frequency: number, wallMs: number): Promise<Uint8Array> {
  const builder = new ProfileBuilder();
  const parents = new Map<number, number>();
  for (const node of profile.nodes) for (const child of node.children ?? []) parents.set(child, node.id);
  const totals = new Map<number, { samples: number; micros: number }>();
  for (const [index, id] of (profile.samples ?? []).entries()) {
    const total = totals.getOrInsertComputed(id, () => ({ samples: 0, micros: 0 }));
    total.samples++;
    total.micros += Math.max(0, profile.timeDeltas?.[index] ?? 0);
  }
  const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  for (const [id, { samples, micros }] of totals) {
    builder.sample(stackOf(id, parents, frames), [samples, micros * 1000]);
  }
  const durationMicros = profile.endTime - profile.startTime;
  return await builder.finish({
    sampleType: [builder.type('samples', 'count'), builder.type('cpu', 'nanoseconds')],
    periodType: builder.type('cpu', 'nanoseconds'),
    period: BigInt(Math.round(1e9 / frequency)),
    timeNanos: nanos(wallMs * 1000 - durationMicros),
    durationNanos: nanos(durationMicros),
  });
}

export async function heapPprof(profile: HeapProfile, intervalBytes: number, wallMs: number): Promise<Uint8Array> {
  const builder = new ProfileBuilder();
  const counts = new Map<number, number>();
  for (const { nodeId } of profile.samples) counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  const stack: CallFrame[] = [];
  // The tree is as deep as V8's stacks are, which it bounds at 128 frames.
  const walk = (node: HeapNode) => {
    stack.unshift(node.callFrame);
    if (node.selfSize > 0) builder.sample(withoutRoot(stack), [counts.get(node.id) ?? 0, node.selfSize]);
    for (const child of node.children) walk(child);
    stack.shift();
  };
  walk(profile.head);
  return await builder.finish({
    sampleType: [builder.type('inuse_objects', 'count'), builder.type('inuse_space', 'bytes')],
    periodType: builder.type('space', 'bytes'),
    period: BigInt(intervalBytes),
    timeNanos: nanos(wallMs * 1000),
  });
}

function stackOf(id: number, parents: ReadonlyMap<number, number>, frames: ReadonlyMap<number, CallFrame>) {
  const stack: CallFrame[] = [];
  for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
    const frame = frames.get(at);
    if (frame !== undefined) stack.push(frame);
  }
  return withoutRoot(stack);
}

/** V8 puts everything below a frame called `(root)`. */
function withoutRoot(stack: readonly CallFrame[]): readonly CallFrame[] {
  return stack.at(-1)?.functionName === '(root)' ? stack.slice(0, -1) : stack;
}

class ProfileBuilder {
  readonly #texts = new Map<string, number>([['', 0]]);
  readonly #functions = new Map<string, FunctionRecord>();
  readonly #locations = new Map<string, LocationRecord>();
  readonly #samples: { readonly locationId: bigint[]; readonly value: bigint[] }[] = [];

  type(type: string, unit: string) {
    return { type: this.#text(type), unit: this.#text(unit) };
  }

  sample(stack: readonly CallFrame[], values: readonly number[]): void {
    const locationId = stack.map((frame) => this.#location(frame));
    this.#samples.push({ locationId, value: values.map((value) => BigInt(Math.round(value))) });
  }

  async finish(kinds: Kinds): Promise<Uint8Array> {
    const profile = create(ProfileSchema, {
      ...kinds,
      mapping: [this.#mapping()],
      sample: this.#samples,
      function: [...this.#functions.values()],
      location: [...this.#locations.values()],
      stringTable: [...this.#texts.keys()],
    });
    return await compress(toBinary(ProfileSchema, profile));
  }

  #mapping() {
    const filename = this.#text(process.title);
    return { id: 1n, filename, hasFunctions: true, hasFilenames: true, hasLineNumbers: true };
  }

  #location({ functionName, url, lineNumber }: CallFrame): bigint {
    const key = `${functionName}\0${url}\0${lineNumber}`;
    const known = this.#locations.get(key);
    if (known !== undefined) return known.id;
    const id = BigInt(this.#locations.size + 1);
    const name = this.#text(functionName === '' ? '(anonymous)' : functionName);
    const startLine = BigInt(lineNumber + 1);
    this.#functions.set(key, { id, name, systemName: name, filename: this.#text(url), startLine });
    this.#locations.set(key, { id, mappingId: 1n, line: [{ functionId: id, line: startLine }] });
    return id;
  }

  #text(text: string): bigint {
    return BigInt(this.#texts.getOrInsertComputed(text, () => this.#texts.size));
  }
}

function nanos(micros: number): bigint {
  return BigInt(Math.round(micros)) * 1000n;
}
