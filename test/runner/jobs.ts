/**
 * Which test files run together: in one process, side by side, or with the machine to themselves.
 *
 * I1: every file is in exactly one job.
 */

/** One process of tests. */
export interface Job {
  /** Relative to the repository's root; several share the process (`together.ts`). */
  readonly files: readonly string[];
  /** Of the places there are, how many it takes. */
  readonly weight: number;
}

/** What one round does: first the jobs that share the machine, then the others one by one. */
export interface Round {
  readonly sharing: readonly Job[];
  readonly alone: readonly Job[];
}

/** These measure, or keep to times that are not ours to choose. The bounds of the others leave room for neighbours. */
const alone = /^test\/(bench|interop\/differential|netns\/(bench\/loads|path\/members|soak))\b/;

/**
 * Whose files share a process, and how many of them: enough that little is loaded twice, few enough that the last process does
 * not keep everybody waiting.
 */
const together: readonly (readonly [tier: RegExp, files: number])[] = [
  [/^test\/integration\/(admin|control|dns|hbone|http|identity|inpod|security|upstream|waypoint|xds|ztunnel)\//, 6],
  [/^test\/unit\//, 24],
];

/** These measure their own process, change it for good (a signal, a limit, the heap), or take as long as a share of others. */
const apart = new RegExp(
  [
    '/unit/(native|bench-micro)/',
    '/unit/(app/memory|base/garbage|identity/key-secrecy)[.]',
    '/integration/hbone/(http2-|relay-bytes|relay-nested-bytes)',
    '/integration/(admin/(large|profiles)|waypoint/long-bodies|xds/large|security/(reset-behind|waypoint-survives))',
  ].join('|'),
);

/** Two meshes at once, or one under load, for the whole of their time. */
const heavy = /^test\/netns\/(demo|lab\/cleanup|integrity\/(changes|load))\b/;

/** The longest are begun first, lest everything waits for one of them in the end. */
const long =
  /^test\/(netns\/(bench\/systems|integrity|inpod\/replacement)|unit\/native\/address-sanitizer|conformance)\b/;

export function planRound(files: readonly string[]): Round {
  const sharing = files.filter((file) => !alone.test(file));
  const inShares = together.map(
    ([tier, size]) => [sharing.filter((file) => tier.test(file) && !apart.test(file)), size] as const,
  );
  const shared = new Set(inShares.flatMap(([some]) => some));
  const jobs = [
    ...inShares.flatMap(([some, size]) => shares(some, size)),
    ...sharing.filter((file) => !shared.has(file)).map(single),
  ];
  return {
    sharing: jobs.sort((a, b) => rank(b) - rank(a)),
    alone: files.filter((file) => alone.test(file)).map(single),
  };
}

/** What is heavy goes first, since it needs several places at once; then what is long. */
function rank({ files: [first = ''], weight }: Job): number {
  return weight * 2 + Number(long.test(first));
}

export function single(file: string): Job {
  return { files: [file], weight: heavy.test(file) ? 2 : 1 };
}

/** Neighbours stay together, since they import the same. */
function shares(files: readonly string[], size: number): readonly Job[] {
  const count = Math.ceil(files.length / size);
  const from = (index: number) => Math.round((files.length * index) / count);
  return Array.from({ length: count }, (_, index) => ({
    files: files.slice(from(index), from(index + 1)),
    weight: 1,
  }));
}
