/**
 * Requests of delta discovery as bytes. The versions of a whole mesh are some ten megabytes, so they are written piece by
 * piece (`base/slices.ts`), each as an entry of the map with number 5.
 */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { inSlices, type SliceOptions } from '../base/slices.ts';
import { DeltaDiscoveryRequestSchema } from '../proto/gen/discovery_pb.js';
import type { Answer } from './delta-type.ts';
import type { NodeIdentity } from './node-identity.ts';

export interface FirstRequest {
  readonly typeUrl: string;
  readonly node: NodeIdentity;
  /** What is held from earlier streams. */
  readonly versions: Iterable<readonly [name: string, version: string]>;
  /** None: everything. */
  readonly subscribe?: readonly string[];
  readonly unsubscribe?: readonly string[];
}

/** Opens a type on a stream. `versions` must not change meanwhile. */
export async function encodeFirstRequest(request: FirstRequest, slices: SliceOptions): Promise<Uint8Array> {
  const { typeUrl, node, versions, subscribe = [], unsubscribe = [] } = request;
  const parts = [
    encode({ typeUrl, node, resourceNamesSubscribe: [...subscribe], resourceNamesUnsubscribe: [...unsubscribe] }),
  ];
  await inSlices(entries(versions, parts), slices);
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}

export function encodeAnswer(typeUrl: string, answer: Answer): Uint8Array {
  const { nonce: responseNonce } = answer;
  if (answer.kind === 'ack') return encode({ typeUrl, responseNonce });
  return encode({ typeUrl, responseNonce, errorDetail: { code: invalidArgument, message: answer.reason } });
}

export function encodeSubscription(
  typeUrl: string,
  subscribe: readonly string[],
  unsubscribe: readonly string[],
): Uint8Array {
  return encode({ typeUrl, resourceNamesSubscribe: [...subscribe], resourceNamesUnsubscribe: [...unsubscribe] });
}

const invalidArgument = 3;
const entriesPerStep = 64;
const versionsField = 5;

function encode(request: MessageInitShape<typeof DeltaDiscoveryRequestSchema>): Uint8Array {
  return toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, request));
}

/** Messages that follow one another are one message with the fields of all. */
function* entries(versions: FirstRequest['versions'], parts: Uint8Array[]): Generator<void, void, void> {
  let writer = new BinaryWriter();
  let count = 0;
  for (const [name, version] of versions) {
    writer.tag(versionsField, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(name).tag(2, WireType.LengthDelimited).string(version).join();
    if (++count < entriesPerStep) continue;
    parts.push(writer.finish());
    writer = new BinaryWriter();
    count = 0;
    yield;
  }
  if (count > 0) parts.push(writer.finish());
}
