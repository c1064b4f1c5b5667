/** L4 policies from the wire: equal to what the generated decoder says; what cannot be decided allows nobody. */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import t from 'tap';
import type { L4Policy } from '../../../src/mesh/model.ts';
import { isEmptyMatch } from '../../../src/policy/rule-index.ts';
import * as messages from '../../../src/proto/gen/authorization_pb.js';
import { decodeAuthorization } from '../../../src/xds/decode-authorization.ts';
import { authorizationMessage } from '../../support/xds-messages.ts';
import { oracleAuthorization } from '../../support/xds-oracle.ts';

type Fields = MessageInitShape<typeof messages.AuthorizationSchema>;

const plain = { name: 'only-web', namespace: 'shop' };
const bytesOf = (fields: Fields) =>
  toBinary(messages.AuthorizationSchema, create(messages.AuthorizationSchema, fields));

function policyOf(bytes: Uint8Array): L4Policy {
  const decoded = decodeAuthorization('shop/only-web', bytes);
  if (decoded.kind !== 'policy') throw new Error(decoded.reason);
  return decoded.policy;
}

function reasonOf(bytes: Uint8Array): string | undefined {
  const decoded = decodeAuthorization('the-name', bytes);
  return decoded.kind === 'invalid' ? decoded.reason : undefined;
}

t.test('every valid message reads as the generated decoder reads it', async (t) => {
  fc.assert(
    fc.property(authorizationMessage, (message) => {
      const bytes = toBinary(messages.AuthorizationSchema, message);
      t.strictSame(policyOf(bytes), oracleAuthorization(bytes));
    }),
    { numRuns: 400 },
  );
});

t.test('what is cut off, changed or random is a value with a reason, and nothing throws', async () => {
  const broken = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc
      .tuple(authorizationMessage, fc.nat(), fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })))
      .map(([message, cut, [at, byte]]) => {
        const bytes = toBinary(messages.AuthorizationSchema, message);
        bytes[at % bytes.length] = byte;
        return cut % 3 === 0 ? bytes : bytes.subarray(0, cut % (bytes.length + 1));
      }),
  );
  fc.assert(
    fc.property(broken, (bytes) => {
      const decoded = decodeAuthorization('the-name', bytes);
      return decoded.kind === 'policy' || decoded.reason.startsWith('the-name: ');
    }),
    { numRuns: 3000 },
  );
});

t.test('empty rules, clauses and matches stay as they came', async (t) => {
  const rules: Fields['rules'] = [{}, { clauses: [{}] }, { clauses: [{ matches: [{}, { destinationPorts: [80] }] }] }];
  const policy = policyOf(bytesOf({ ...plain, rules }));
  t.equal(policy.rules.length, 3);
  t.strictSame(policy.rules[0], []);
  t.strictSame(policy.rules[1], [[]]);
  t.strictSame(policy.rules[2]?.[0]?.map(isEmptyMatch), [true, false]);
});

t.test('a reason names the resource and the field', async (t) => {
  const of = (match: MessageInitShape<typeof messages.MatchSchema>) =>
    bytesOf({ ...plain, rules: [{ clauses: [{ matches: [match] }] }] });
  const cases: [Uint8Array, RegExp][] = [
    [bytesOf({ ...plain, name: '' }), /^the-name: name: it is empty$/],
    [bytesOf({ ...plain, namespace: '' }), /^the-name: namespace: it is empty$/],
    [bytesOf({ ...plain, scope: 3 as never }), /scope: unknown value 3$/],
    [bytesOf({ ...plain, action: 2 as never }), /action: unknown value 2$/],
    [of({ principals: [{}] }), /principals: a string match of no known kind$/],
    [of({ sourceIps: [{ length: 8 }] }), /source_ips: it has no address$/],
    [
      of({ notDestinationIps: [{ address: Uint8Array.of(1, 2), length: 8 }] }),
      /not_destination_ips: 2 bytes are no block/,
    ],
    [
      of({ sourceIps: [{ address: Uint8Array.of(10, 0, 0, 0), length: 40 }] }),
      /source_ips: 4 bytes are no block of length 40$/,
    ],
    [of({ notDestinationPorts: [80, 65536] }), /not_destination_ports: not a port: 65536$/],
    [
      bytesOf({ ...plain, rules: [{ clauses: [{ matches: [{}] }] }] }).subarray(0, -1),
      /^the-name: rules: it is cut off$/,
    ],
    [bytesOf({ ...plain, rules: Array.from({ length: 200_001 }, () => ({})) }), /rules: more than 200000 parts$/],
    [new Uint8Array(4 * 1024 * 1024 + 1), /^the-name: it has 4194305 bytes$/],
  ];
  for (const [bytes, reason] of cases) t.match(reasonOf(bytes), reason);
});

t.test('ports arrive packed or one by one', async (t) => {
  const match = new BinaryWriter();
  for (const port of [80, 443]) match.tag(9, WireType.Varint).uint32(port);
  t.strictSame(policyOf(withMatch(match.finish(), 'allow')).rules[0]?.[0]?.[0]?.destinationPorts, [80, 443]);
});

t.test('a condition of a later version allows nobody and denies more, never less', async (t) => {
  const known = toBinary(messages.MatchSchema, create(messages.MatchSchema, { destinationPorts: [80] }));
  const unknown = new BinaryWriter().tag(77, WireType.Varint).uint32(1).finish();
  const match = Buffer.concat([known, unknown]);
  t.ok(isEmptyMatch(only(policyOf(withMatch(match, 'allow')))), 'an ALLOW never matches by it');
  t.strictSame(only(policyOf(withMatch(match, 'deny'))).destinationPorts, [80]);
  t.strictSame(only(policyOf(withMatch(match, 'deny', 'last'))).destinationPorts, [80], 'wherever the action stands');
  t.ok(isEmptyMatch(only(policyOf(withMatch(match, 'allow', 'last')))));
});

t.test('something unknown beside clauses or matches allows nobody and denies more, never less', async (t) => {
  const unknown = (writer: BinaryWriter) => writer.tag(77, WireType.Varint).uint32(1);
  const policy = (action: 'allow' | 'deny', at: 'rule' | 'clause') => {
    const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).string('p');
    writer.tag(2, WireType.LengthDelimited).string('ns');
    writer.tag(4, WireType.Varint).uint32(action === 'allow' ? 0 : 1);
    writer.tag(5, WireType.LengthDelimited).fork();
    if (at === 'rule') unknown(writer);
    writer.tag(1, WireType.LengthDelimited).fork();
    if (at === 'clause') unknown(writer);
    return policyOf(writer.join().join().finish());
  };
  const holdsForNobody = (rule: L4Policy['rules'][number] | undefined) =>
    rule?.some((clause) => clause.length > 0 && clause.every(isEmptyMatch));
  for (const at of ['rule', 'clause'] as const) {
    t.equal(holdsForNobody(policy('allow', at).rules[0]), true, `allow, in the ${at}`);
    t.strictSame(policy('deny', at).rules[0], [[]], `deny, in the ${at}`);
  }
});

function only(policy: L4Policy) {
  const match = policy.rules[0]?.[0]?.[0];
  if (match === undefined) throw new Error('no match');
  return match;
}

function withMatch(match: Uint8Array, action: 'allow' | 'deny', actionAt: 'first' | 'last' = 'first'): Uint8Array {
  const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).string('p');
  writer.tag(2, WireType.LengthDelimited).string('ns');
  const writeAction = () => writer.tag(4, WireType.Varint).uint32(action === 'allow' ? 0 : 1);
  if (actionAt === 'first') writeAction();
  writer.tag(5, WireType.LengthDelimited).fork().tag(1, WireType.LengthDelimited).fork();
  writer.tag(2, WireType.LengthDelimited).bytes(match).join().join();
  if (actionAt === 'last') writeAction();
  return writer.finish();
}
