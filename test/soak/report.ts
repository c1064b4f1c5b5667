/** What a soak found: failures by kind, what each proxy held over time, and the law that says what is growth. Pure. */

export interface Sample {
  readonly residentMiB: number;
  readonly descriptors: number;
}

export interface ProxyRecord {
  readonly name: string;
  /** Before the load, once a second under it, and when all is quiet again. */
  readonly before: Sample;
  readonly during: readonly Sample[];
  readonly after: Sample;
  /** Live connections at the end. */
  readonly connections: number;
}

export interface LaneRecord {
  readonly name: string;
  readonly exchanges: number;
  readonly failures: ReadonlyMap<string, number>;
}

export interface SoakRecord {
  readonly seconds: number;
  readonly lanes: readonly LaneRecord[];
  readonly pods: number;
  readonly policies: number;
  readonly certificates: number;
  readonly proxies: readonly ProxyRecord[];
  /** What went wrong besides exchanges. */
  readonly problems: readonly string[];
}

/**
 * The law. Memory: the median of the last quarter may exceed that of the second quarter by 16 MiB and a twentieth; what a
 * proxy grows to under a load it reaches in the first quarter. Descriptors: afterwards no more than before, but for eight.
 */
export const law: Law = { residentMiB: 16, residentShare: 0.05, descriptors: 8 };

export interface Law {
  readonly residentMiB: number;
  readonly residentShare: number;
  readonly descriptors: number;
}

/** For less than a minute: V8 is still finding the size of its young generation, 48 MiB at most, when others want the processors as well. */
export const shortLaw: Law = { ...law, residentMiB: 64 };

/** Everything that makes a soak fail, as sentences. */
export function problemsOf(record: SoakRecord, { residentMiB, residentShare, descriptors } = law): readonly string[] {
  const problems = [...record.problems];
  for (const { name, exchanges, failures } of record.lanes) {
    for (const [kind, count] of failures) problems.push(`${name}: ${count} times ${kind}`);
    if (exchanges === 0) problems.push(`${name}: nothing was exchanged`);
  }
  if (record.pods === 0) problems.push('no pod came and went');
  if (record.certificates < 2) problems.push('no certificate was renewed');
  for (const { name, before, during, after, connections } of record.proxies) {
    const { early, late } = resident(during);
    if (late > early * (1 + residentShare) + residentMiB) {
      problems.push(`${name} grew from ${early.toFixed(0)} to ${late.toFixed(0)} MiB`);
    }
    if (after.descriptors > before.descriptors + descriptors) {
      problems.push(`${name} has ${after.descriptors} descriptors, ${before.descriptors} before the load`);
    }
    if (connections > 0) problems.push(`${name} has ${connections} connections left`);
  }
  return problems;
}

export function table(record: SoakRecord): string {
  const lines = [
    `${record.seconds} s, ${record.pods} pods came and went, ${record.policies} sets of policies, ${record.certificates} certificates of one pod`,
  ];
  lines.push('', row('path', 'exchanges', 'failures'));
  for (const { name, exchanges, failures } of record.lanes) {
    const kinds = [...failures].map(([kind, count]) => `${count} × ${kind}`).join('; ');
    lines.push(row(name, String(exchanges), kinds || '0'));
  }
  lines.push(
    '',
    row('proxy', 'RSS MiB: early, late, after', 'MiB/min', 'fds: before, most, after', 'connections left'),
  );
  for (const { name, before, during, after, connections } of record.proxies) {
    const { early, late } = resident(during);
    const most = Math.max(...during.map(({ descriptors }) => descriptors));
    const memory = [early, late, after.residentMiB].map((each) => each.toFixed(0)).join(', ');
    const files = [before.descriptors, most, after.descriptors].join(', ');
    lines.push(row(name, memory, slope(during).toFixed(2), files, String(connections)));
  }
  return `${lines.join('\n')}\n`;
}

function resident(during: readonly Sample[]): { early: number; late: number } {
  const quarter = Math.ceil(during.length / 4);
  return { early: median(during.slice(quarter, 2 * quarter)), late: median(during.slice(-quarter)) };
}

function median(samples: readonly Sample[]): number {
  const sorted = samples.map(({ residentMiB }) => residentMiB).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/** Least squares over all but the first quarter, MiB a minute. */
function slope(during: readonly Sample[]): number {
  const points = during
    .slice(Math.ceil(during.length / 4))
    .map(({ residentMiB }, second) => [second / 60, residentMiB] as const);
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
  const spread = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return spread === 0 ? 0 : points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0) / spread;
}

function row(first: string, ...rest: readonly string[]): string {
  return [first.padEnd(18), ...rest.map((each) => each.padEnd(30))].join('').trimEnd();
}
