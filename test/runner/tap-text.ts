/** What a test process said in TAP: how it counted, and which tests failed. */

export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Tap's own closing count: `# { total: 5, pass: 3, fail: 1, todo: 1, skip: 1 }`. Undefined when it did not get so far. */
export function countsOf(text: string): Counts | undefined {
  const summary = text.match(/^# \{ total: .*\}$/gm)?.at(-1);
  if (summary === undefined) return undefined;
  const count = (name: string) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0);
  return { passed: count('pass'), failed: count('fail'), skipped: count('skip') + count('todo') };
}

/** Every failed line with the names it stands under and what tap says of it. `todo` and `skip` are no failures. */
export function failuresOf(text: string): readonly string[] {
  const lines = text.split('\n');
  const names: string[] = [];
  const told: string[] = [];
  for (const [index, line] of lines.entries()) {
    const [, indent = '', name] = /^(\s*)# Subtest: (.*)$/.exec(line) ?? [];
    if (name !== undefined) names.splice(indent.length / 4, Number.POSITIVE_INFINITY, name);
    const depth = /^(\s*)not ok /.exec(line)?.[1];
    if (depth === undefined) continue;
    const under = names.slice(0, depth.length / 4);
    const details: string[] = [];
    for (const detail of lines.slice(index + 1, index + 25)) {
      if (!detail.startsWith(`${depth}  `)) break;
      details.push(detail);
      if (detail.trim() === '...') break;
    }
    told.push([[...under, line.trim()].join(' › '), ...details].join('\n'));
  }
  return told;
}
