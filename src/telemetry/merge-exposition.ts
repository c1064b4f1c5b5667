/**
 * Metrics of several processes as those of one: counters and histograms are summed, gauges stand side by side with a label that
 * says whose they are, since no sum of theirs means anything.
 *
 * I1: a sum never falls, though processes come and go: what one that has ended had counted is kept (`absorb`). Bounded: what has no
 * room among the kept is lost with its process.
 */

import { numberText } from './exposition.ts';

interface FamilyText {
  readonly name: string;
  readonly type: string;
  /** As it stands in the text. */
  readonly help: string;
  /** By name and labels as they stand in the text. */
  readonly samples: Map<string, number>;
}

type Families = Map<string, FamilyText>;

const maxKept = 200_000;

export class MergedExposition {
  /** Of processes that have ended. */
  readonly #kept: Families = new Map();
  #keptSamples = 0;

  /** The process has ended, and this is the last that it told. */
  absorb(text: string): void {
    for (const family of parse(text).values()) {
      if (!isSummed(family)) continue;
      const kept = this.#kept.getOrInsertComputed(family.name, () => ({ ...family, samples: new Map() }));
      for (const [series, value] of family.samples) {
        const before = kept.samples.get(series);
        if (before === undefined && ++this.#keptSamples > maxKept) continue;
        kept.samples.set(series, (before ?? 0) + value);
      }
    }
  }

  /** Texts, in Prometheus' plain form, by the name of their process. Made in pieces, a family each. */
  *merge(texts: ReadonlyMap<string, string>, openMetrics: boolean): Generator<string> {
    const all: Families = new Map();
    const family = (like: FamilyText) => all.getOrInsertComputed(like.name, () => ({ ...like, samples: new Map() }));
    for (const [process, text] of texts) {
      for (const one of parse(text).values()) {
        const { samples } = family(one);
        for (const [series, value] of one.samples) {
          if (isSummed(one)) samples.set(series, (samples.get(series) ?? 0) + value);
          else samples.set(labelled(series, process), value);
        }
      }
    }
    for (const kept of this.#kept.values()) {
      const { samples } = family(kept);
      for (const [series, value] of kept.samples) samples.set(series, (samples.get(series) ?? 0) + value);
    }
    for (const { name, type, help, samples } of all.values()) {
      const shown = openMetrics && type === 'counter' ? name.replace(/_total$/, '') : name;
      let out = `# HELP ${shown} ${help}\n# TYPE ${shown} ${type}\n`;
      for (const [series, value] of samples) out += `${series} ${numberText(value)}\n`;
      yield out;
    }
    if (openMetrics) yield '# EOF\n';
  }
}

/** Samples belong to the family whose head stands before them. */
function parse(text: string): Families {
  const families: Families = new Map();
  let current: FamilyText | undefined;
  let help = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('# HELP ')) help = line.split(' ').slice(3).join(' ');
    else if (line.startsWith('# TYPE ')) {
      const [, , name = '', type = 'untyped'] = line.split(' ');
      current = families.getOrInsertComputed(name, () => ({ name, type, help, samples: new Map() }));
    } else if (line !== '' && !line.startsWith('#') && current !== undefined) {
      const end = line.lastIndexOf('}') + 1 || line.indexOf(' ');
      const value = numberOf(line.slice(end).trim().split(' ')[0] ?? '');
      if (end > 0 && value !== undefined) current.samples.set(line.slice(0, end), value);
    }
  }
  return families;
}

function isSummed({ type }: FamilyText): boolean {
  return type === 'counter' || type === 'histogram';
}

function labelled(series: string, process: string): string {
  const label = `worker="${process}"`;
  const open = series.indexOf('{');
  if (open < 0) return `${series}{${label}}`;
  return series.endsWith('{}') ? `${series.slice(0, open)}{${label}}` : `${series.slice(0, -1)},${label}}`;
}

function numberOf(text: string): number | undefined {
  if (text === '+Inf') return Number.POSITIVE_INFINITY;
  if (text === '-Inf') return Number.NEGATIVE_INFINITY;
  if (text === 'NaN') return Number.NaN;
  const value = Number(text);
  return text === '' || Number.isNaN(value) ? undefined : value;
}
