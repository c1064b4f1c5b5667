/** Pages that promise something against the tests they name: no row is missing, and none leans on a test that does not exist. */
import t from 'tap';
import { proofProblems, readProvenRows } from '../../support/proofs.ts';

const requirements = readProvenRows('docs/requirements.md', /^R\d+$/);
const compatibility = readProvenRows('docs/compatibility.md', /^[A-Z]\d+$/);

t.test('all fifty-seven requirements are there, once and in order', async (t) => {
  const numbers = requirements.map(({ name }) => Number(name.slice(1)));
  t.same(
    numbers,
    Array.from({ length: 57 }, (_, i) => i + 1),
  );
});

t.test('every row names tests that exist, by file and title', async (t) => {
  for (const { name, proofs } of [...requirements, ...compatibility]) {
    t.ok(proofs.length > 0, `${name} has a proof`);
    t.same(proofs.flatMap(proofProblems), [], `${name}: its tests exist`);
  }
});

t.test('only parts of R6 and R43 wait for something', async (t) => {
  t.same(
    requirements.filter(({ text }) => text.includes('waits: ')).map(({ name }) => name),
    ['R6', 'R43'],
  );
});
