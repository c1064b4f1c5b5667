/** A delta response taken apart: header, resources and names of what is gone, whatever the bytes. */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import t from 'tap';
import { type DeltaResponse, splitDeltaResponse } from '../../../src/xds/delta-response.ts';

interface Resource {
  readonly name: string;
  readonly version: string;
  readonly aliases: readonly string[];
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

interface Content {
  readonly systemVersion: string;
  readonly typeUrl: string;
  readonly nonce: string;
  readonly resources: readonly Resource[];
  readonly removed: readonly string[];
}

function write({ systemVersion, typeUrl, nonce, resources, removed }: Content): Uint8Array {
  const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).string(systemVersion);
  for (const { name, version, aliases, typeUrl: url, value } of resources) {
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(version);
    writer.tag(2, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(url).tag(2, WireType.LengthDelimited).bytes(value).join();
    writer.tag(3, WireType.LengthDelimited).string(name);
    for (const alias of aliases) writer.tag(4, WireType.LengthDelimited).string(alias);
    writer.join();
  }
  writer.tag(4, WireType.LengthDelimited).string(typeUrl).tag(5, WireType.LengthDelimited).string(nonce);
  for (const name of removed) writer.tag(6, WireType.LengthDelimited).string(name);
  return writer.tag(90, WireType.Varint).uint32(1).finish();
}

function split(bytes: Uint8Array): DeltaResponse {
  const response = splitDeltaResponse(bytes);
  if (response.kind === 'malformed') throw new Error(response.reason);
  return response;
}

const text = fc.string({ unit: 'grapheme', maxLength: 10 });
const content: fc.Arbitrary<Content> = fc.record({
  systemVersion: text,
  typeUrl: text,
  nonce: text,
  resources: fc.array(
    fc.record({
      name: text,
      version: text,
      aliases: fc.array(text, { maxLength: 3 }),
      typeUrl: fc.constantFrom('type.googleapis.com/a', 'b', ''),
      value: fc.uint8Array({ maxLength: 20 }),
    }),
    { maxLength: 5 },
  ),
  removed: fc.array(text, { maxLength: 4 }),
});

t.test('a response is taken apart into what was put together', async (t) => {
  fc.assert(
    fc.property(content, (sent) => {
      const response = split(write(sent));
      const { systemVersion, typeUrl, nonce, resourceCount, removedCount } = response;
      const resources = [...response.resources()].map((resource) =>
        resource.kind === 'resource' ? { ...resource, value: Uint8Array.from(resource.value) } : resource,
      );
      t.strictSame(
        { systemVersion, typeUrl, nonce, resources, removed: [...response.removed()] },
        { ...sent, resources: sent.resources.map((resource) => ({ kind: 'resource', ...resource })) },
      );
      t.strictSame([resourceCount, removedCount], [sent.resources.length, sent.removed.length]);
    }),
    { numRuns: 200 },
  );
});

t.test('values are views of the response, not copies', async (t) => {
  const bytes = write({
    systemVersion: '',
    typeUrl: 't',
    nonce: 'n',
    resources: [{ name: 'a', version: '1', aliases: [], typeUrl: 't', value: Uint8Array.of(1, 2, 3) }],
    removed: [],
  });
  const [resource] = split(bytes).resources();
  t.equal(resource?.kind === 'resource' && resource.value.buffer, bytes.buffer);
});

t.test('a resource that is malformed is named, and the others are still there', async (t) => {
  const writer = new BinaryWriter();
  writer.tag(2, WireType.LengthDelimited).fork().tag(3, WireType.LengthDelimited).string('good').join();
  writer.tag(2, WireType.LengthDelimited).fork().tag(3, WireType.LengthDelimited).string('bad');
  writer.tag(2, WireType.Varint).uint32(7).join();
  writer.tag(2, WireType.LengthDelimited).bytes(Uint8Array.of(0x0a, 0x7f));
  writer.tag(2, WireType.LengthDelimited).fork().tag(3, WireType.LengthDelimited).string('last').join();
  t.strictSame(
    [...split(writer.finish()).resources()].map((resource) =>
      resource.kind === 'malformed' ? resource.reason : resource.name,
    ),
    ['good', 'bad: wire type 0 instead of 2', 'a resource: it is cut off', 'last'],
  );
});

t.test('a response that is cut off says where', async (t) => {
  const bytes = write({ systemVersion: 'v', typeUrl: 't', nonce: 'n', resources: [], removed: ['abc'] });
  t.strictSame(splitDeltaResponse(bytes.subarray(0, -4)), {
    kind: 'malformed',
    reason: `response of ${bytes.length - 4} bytes: at 11: it is cut off`,
  });
});

t.test('random bytes and broken responses neither throw nor loop', async () => {
  const broken = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc.tuple(content, fc.nat(), fc.integer({ min: 0, max: 255 })).map(([sent, at, byte]) => {
      const bytes = write(sent);
      bytes[at % bytes.length] = byte;
      return bytes;
    }),
  );
  fc.assert(
    fc.property(broken, (bytes) => {
      const response = splitDeltaResponse(bytes);
      if (response.kind === 'malformed') return response.reason !== '';
      return (
        [...response.resources()].length === response.resourceCount &&
        [...response.removed()].length === response.removedCount
      );
    }),
    { numRuns: 2000 },
  );
});
