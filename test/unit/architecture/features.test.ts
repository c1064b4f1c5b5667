/** docs/features.md: what a waypoint does, row by row, against the tests that prove it. */
import t from 'tap';
import { proofProblems, readProvenRows } from '../../support/proofs.ts';

const rows = readProvenRows('docs/features.md', /^[A-Z]\d+$/);

t.test('every row has a state, is numbered in order, and says how where it differs or is not', async (t) => {
  const last = new Map<string, number>();
  for (const { name, text } of rows) {
    const cells = text.split(' | ').map((cell) => cell.trim());
    t.equal(cells.length, 5, `${name} has five cells`);
    const [, feature = '', state = '', how = ''] = cells;
    t.ok(feature.length > 3, `${name} names a feature`);
    t.ok(['supported', 'differs', 'not'].includes(state), `${name} is ${state}`);
    if (state !== 'supported') t.ok(how.length > 3, `${name} says how`);
    const [letter = '', number] = [name[0], Number(name.slice(1))];
    t.equal(number, (last.get(letter) ?? 0) + 1, `${name} follows`);
    last.set(letter, number);
  }
  t.same([...last.keys()], ['A', 'H', 'G', 'V', 'D', 'P', 'J', 'T', 'E', 'X', 'N'], 'sections of the inventory');
});

t.test('every row names tests that exist, by file and title', async (t) => {
  for (const { name, proofs } of rows) {
    t.ok(proofs.length > 0, `${name} has a proof`);
    t.same(proofs.flatMap(proofProblems), [], `${name}: its tests exist`);
  }
  const missing = { file: 'test/conformance/gateway-api/mesh-ports/cases.yaml', titles: ['no such case'] };
  t.equal(proofProblems(missing).length, 1, 'the check can fail');
});
