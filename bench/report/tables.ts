/** A run as tables, before they are laid out: one block per load, then the targets. What both reports show is decided here. */
import { errorsOf, ratioOf, spreadOf } from '../statistics.ts';
import type { Verdict } from '../targets.ts';
import { type Column, columnsOf, kibibytes, megabytes, ratioText, spreadText } from './format.ts';
import { type LoadRecord, peersOf, type RunRecord, type SystemRecord } from './record.ts';

/** Cells of the first column stand left, all others right. */
export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** A load, with whom it was measured on and what there is to tell of it. */
export interface Block {
  readonly load: string;
  readonly title: string;
  readonly systems: readonly SystemRecord[];
  readonly columns: readonly Column[];
  readonly tables: readonly Table[];
}

/** Latencies have a spread of their own, and their columns are many. */
const withoutSpread: ReadonlySet<string> = new Set(['p50Ms', 'p90Ms', 'p99Ms', 'p999Ms', 'peakRssBytes']);
const compared: ReadonlySet<string> = new Set([
  'perSecond',
  'cpuPerUnit',
  'p50Ms',
  'p99Ms',
  'peakRssBytes',
  'bytesPerUnit',
]);

/** Loads that were measured on no system are left out. */
export function loadBlocks(record: RunRecord): Block[] {
  return record.loads.flatMap((load) => {
    const systems = record.systems.filter(({ key }) =>
      record.measurements.some((each) => each.load === load.key && each.system === key),
    );
    if (systems.length === 0) return [];
    const columns = columnsOf(load.unit).filter(({ figure }) =>
      systems.some(({ key }) => spreadOf(record, load.key, key, figure) !== undefined),
    );
    const ratios = systems
      .filter(({ ours }) => ours)
      .map((system) => ratioTable(record, load, system, systems, columns));
    const tables = [figureTable(record, load, systems, columns), ...ratios.filter(({ rows }) => rows.length > 0)];
    return [{ load: load.key, title: titleOf(record, load), systems, columns, tables }];
  });
}

export function targetTable(record: RunRecord): Table {
  const nameOf = (key: string) => record.systems.find((system) => system.key === key)?.name ?? key;
  return {
    head: ['target', 'at most', 'measured', ''],
    rows: record.verdicts.map((verdict) => {
      const { target } = verdict;
      const against = target.kind === 'ratio' ? ` of ${nameOf(target.peer)}` : '';
      return [
        `${nameOf(target.system)}: ${target.name}`,
        `${amountText(verdict, target.limit)}${against}`,
        valueText(verdict),
        verdict.kind,
      ];
    }),
  };
}

function titleOf({ rates }: RunRecord, load: LoadRecord): string {
  if (load.fixedRate !== true) return load.name;
  const told = (['l4', 'l7'] as const).flatMap((layer) =>
    rates[layer] === undefined ? [] : [`${layer.toUpperCase()} ${rates[layer]}/s`],
  );
  return told.length === 0 ? load.name : `${load.name} (${told.join(', ')})`;
}

function figureTable(
  record: RunRecord,
  load: LoadRecord,
  systems: readonly SystemRecord[],
  columns: readonly Column[],
): Table {
  return {
    head: ['', ...columns.map(({ head }) => head), 'errors'],
    rows: systems.map(({ key, name }) => [
      name,
      ...columns.map(({ figure, text }) => {
        const value = spreadOf(record, load.key, key, figure);
        if (value === undefined) return '';
        return withoutSpread.has(figure) ? text(value.median) : spreadText(value, text);
      }),
      String(errorsOf(record, load.key, key).count),
    ]),
  };
}

/** One of ours in ratio to each of its peers. */
function ratioTable(
  record: RunRecord,
  load: LoadRecord,
  system: SystemRecord,
  systems: readonly SystemRecord[],
  columns: readonly Column[],
): Table {
  // At a rate that was set, rates say nothing, and two rates make no pair.
  const paced = load.fixedRate === true;
  const shown = columns.filter(({ figure }) => compared.has(figure) && !(paced && figure === 'perSecond'));
  const peers = peersOf(system, systems).filter(
    ({ layer }) => !paced || record.rates[layer] === record.rates[system.layer],
  );
  return {
    head: [`${system.name} :`, ...shown.map(({ ratioHead }) => ratioHead)],
    rows: peers
      .map((peer) => [peer.name, ...shown.map(({ figure }) => ratioOf(record, load.key, system.key, peer.key, figure))])
      .filter(([, ...ratios]) => ratios.some((ratio) => ratio !== undefined))
      .map((cells) => cells.map((cell) => (typeof cell === 'object' ? ratioText(cell) : (cell ?? '')))),
  };
}

/** Of a ratio or of bytes, as the target has it. */
export function amountText({ target }: Verdict, amount: number): string {
  if (target.kind === 'ratio') return amount.toFixed(2);
  return target.when === 'per idle connection' ? `${kibibytes(amount)} KiB` : `${megabytes(amount)} MB`;
}

export function valueText({ target, value }: Verdict): string {
  if (value === undefined) return '';
  if (target.kind === 'ratio') return ratioText(value);
  return target.when === 'per idle connection'
    ? `${spreadText(value, kibibytes)} KiB`
    : `${spreadText(value, megabytes)} MB`;
}
