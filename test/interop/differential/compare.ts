/** Facts of two proxies compared, and the differences against the table of docs/envoy.md. Pure. */
import type { Facts } from './observe.ts';

export interface Difference {
  readonly request: string;
  readonly what: string;
  /** Shortened; `–`: absent. */
  readonly envoy: string;
  readonly ambit: string;
}

export function compare(request: string, envoy: Facts, ambit: Facts): Difference[] {
  const names = [...new Set([...envoy.keys(), ...ambit.keys()])];
  const differing = names.filter((name) => envoy.get(name) !== ambit.get(name));
  // One of them did not answer as the other did: what follows from it is not told again. So with a body and its length.
  const [decisive] = ['status', 'backend', 'attempts'].filter((name) => differing.includes(name));
  const follows = (name: string) =>
    /^response header content-/.test(name) && differing.some((each) => /^(body|path)$/.test(each));
  return (decisive === undefined ? differing.filter((name) => !follows(name)) : [decisive]).map((what) => ({
    request,
    what,
    envoy: shown(envoy.get(what)),
    ambit: shown(ambit.get(what)),
  }));
}

function shown(value: string | undefined): string {
  if (value === undefined) return '–';
  const text = JSON.stringify(value).slice(1, -1).replaceAll('|', '\\|');
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

interface Listed {
  /** `any`: of whatever request. */
  readonly request: string;
  readonly what: string;
  readonly envoy: string;
  readonly ambit: string;
  readonly why: string;
}

/** `*` in a cell stands for anything, `any` as a request for all that are not listed by name. */
export function readListed(page: string, found: readonly Difference[]): { unexpected: string[]; stale: string[] } {
  const listed = rowsOf(page);
  const used = new Set<Listed>();
  const unexpected: string[] = [];
  for (const difference of found) {
    const row =
      listed.find((each) => each.request === difference.request && fits(each, difference)) ??
      listed.find((each) => each.request === 'any' && fits(each, difference));
    if (row === undefined || row.why === '') unexpected.push(lineOf(difference));
    else used.add(row);
  }
  return { unexpected, stale: listed.filter((row) => !used.has(row)).map(lineOf) };
}

function rowsOf(page: string): Listed[] {
  return page.split('\n').flatMap((line) => {
    const cells = line.split(/(?<!\\) \| |^\| | \|$/).slice(1, -1);
    const [request = '', what = '', envoy = '', ambit = '', why = ''] = cells.map((cell) =>
      cell.replace(/^`(.*)`$/, '$1'),
    );
    return cells.length === 5 && request !== 'request' && !/^-+$/.test(request)
      ? [{ request, what, envoy, ambit, why }]
      : [];
  });
}

function fits(row: Listed, difference: Difference): boolean {
  const same = (wanted: string, got: string) => wanted === '*' || wanted === got;
  return row.what === difference.what && same(row.envoy, difference.envoy) && same(row.ambit, difference.ambit);
}

function lineOf({ request, what, envoy, ambit }: Difference | Listed): string {
  return `${request}: ${what}: ${envoy} / ${ambit}`;
}
