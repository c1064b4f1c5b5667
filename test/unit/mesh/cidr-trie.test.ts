import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import {
  type Cidr,
  cidrContains,
  cidrFromBytes,
  ipFromBytes,
  ipToBytes,
  parseCidr,
} from '../../../src/base/address.ts';
import { CidrTrie } from '../../../src/base/cidr-trie.ts';

function block(text: string): Cidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new Error(`not a block: ${text}`);
  return cidr;
}

/** Blocks close together, so that they nest often. */
const blocks = fc
  .tuple(
    fc.constantFrom(4, 16),
    fc.array(fc.constantFrom(0, 1, 128, 255), { minLength: 16, maxLength: 16 }),
    fc.nat(128),
  )
  .map(([length, bytes, prefix]) => cidrFromBytes(Uint8Array.from(bytes.slice(0, length)), prefix % (length * 8 + 1)))
  .filter((cidr) => cidr !== undefined);

t.test('answers are those of a plain list, most specific first, after any additions and removals', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(blocks, fc.nat(3), fc.boolean()), { maxLength: 40 }), blocks, (steps, probe) => {
      const trie = new CidrTrie<number>();
      const list = new Map<string, { cidr: Cidr; value: number }>();
      for (const [cidr, value, add] of steps) {
        const key = `${cidr.text} ${value}`;
        if (add) {
          trie.add(cidr, value);
          list.set(key, { cidr, value });
        } else {
          assert.equal(trie.delete(cidr, value), list.delete(key));
        }
      }
      const ip = ipFromBytes(probe.bytes) ?? '';
      const expected = [...list.values()].filter(({ cidr }) => cidrContains(cidr, ipToBytes(ip)));
      const lengths = [...new Set(expected.map(({ cidr }) => cidr.prefix))].sort((a, b) => b - a);
      const groups = lengths.map((length) => expected.filter(({ cidr }) => cidr.prefix === length));
      const found = trie.matches(ip).map((values) => new Set(values));
      assert.deepEqual(
        found,
        groups.map((group) => new Set(group.map(({ value }) => value))),
      );
      return trie.size === list.size;
    }),
    { numRuns: 300 },
  );
  t.pass();
});

t.test('the whole space and a single address are blocks too', async (t) => {
  const trie = new CidrTrie<string>();
  trie.add(block('0.0.0.0/0'), 'all');
  trie.add(block('10.0.0.1'), 'one');
  t.same(trie.matches('10.0.0.1'), [['one'], ['all']]);
  t.same(trie.matches('10.0.0.2'), [['all']]);
  t.same(trie.matches('::1'), []);
});
