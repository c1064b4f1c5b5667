/** What a test process's end and its TAP say together (test/runner/verdict.ts, tap-text.ts). */
import t from 'tap';
import { type JobEnd, judge } from '../../runner/verdict.ts';

const job = { files: ['test/unit/a.test.ts'], weight: 1 };
const shared = { files: ['test/unit/a.test.ts', 'test/unit/b.test.ts'], weight: 1 };
const exited = (code: number): JobEnd => ({ kind: 'exited', code });

const good = `TAP version 14
# Subtest: it is so
    ok 1 - should be equal
    ok 2 - later # TODO
    not ok 3 - not here # SKIP
    1..3
ok 1 - it is so # time=2ms

1..1
# { total: 3, pass: 1, todo: 1, skip: 1 }
# time=10ms
`;

const bad = `TAP version 14
# Subtest: test/unit/b.test.ts
    # Subtest: first
        ok 1 - should be equal
        1..1
    ok 1 - first # time=1ms
    # Subtest: second
        not ok 1 - should be equal
          ---
          diff: |
            -1
            +2
          ...
        1..1
        # failed 1 test
    not ok 2 - second # time=1ms
    1..2
not ok 1 - test/unit/b.test.ts # time=2ms
1..1
# { total: 2, pass: 1, fail: 1 }
`;

t.test('tests that passed, and those that were put off', async (t) => {
  t.same(judge(job, exited(0), good), { counts: { passed: 1, failed: 0, skipped: 2 }, failures: [] });
});

t.test('a failed test is told with the names it stands under and its details, and counted once', async (t) => {
  const { counts, failures } = judge(shared, exited(1), bad);
  t.same(counts, { passed: 1, failed: 1, skipped: 0 });
  const [told = ''] = failures;
  t.match(told, /^test\/unit\/b\.test\.ts › second › not ok 1 - should be equal\n/);
  t.match(told, /-1\n +\+2\n/);
  t.match(
    judge(job, exited(1), bad).failures[0],
    /^test\/unit\/a\.test\.ts › test\/unit\/b/,
    'the file, where it is one',
  );
});

t.test('every other end is a failure, whatever the tests said', async (t) => {
  const cases: readonly (readonly [JobEnd, string, RegExp])[] = [
    [exited(3), good, /it ended with exit code 3\n/],
    [exited(1), good, /it ended with exit code 1\n/],
    [exited(7), bad, /it ended with exit code 7\n/],
    [exited(0), good.replace(/# \{.*/, ''), /it ended with exit code 0 before its tests had\n/],
    [exited(0), '', /it ended with exit code 0 before its tests had/],
    [{ kind: 'killed', signal: 'SIGSEGV' }, good, /it was ended by SIGSEGV\n/],
    [{ kind: 'late', seconds: 360 }, good, /it did not end within 360 s\n/],
    [{ kind: 'unstarted', cause: 'ENOENT' }, '', /it cannot be started: ENOENT\n/],
  ];
  for (const [end, text, message] of cases) {
    const { counts, failures } = judge(shared, end, text);
    t.ok(counts.failed > 0, `${end.kind} is counted`);
    t.match(failures.at(-1), message);
    t.match(failures.at(-1), /^test\/unit\/a\.test\.ts test\/unit\/b\.test\.ts › /);
  }
});

t.test('exit code 0 does not make a failed test good', async (t) => {
  t.ok(judge(job, exited(0), bad).counts.failed > 0);
});

t.test('what a test prints that looks like a closing count is not taken for it', async (t) => {
  const printed = `TAP version 14\n    # { total: 1, pass: 1 }\n`;
  t.match(judge(job, exited(0), printed), { counts: { passed: 0, failed: 1 } });
});
