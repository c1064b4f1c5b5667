/** The words of growth: curves over a number of things, walked up and down again, and what each visit measured. */
import type { World } from '../world.ts';

export interface Figure {
  readonly key: string;
  /** As shown, with its unit. */
  readonly name: string;
  /** Paid by every request or connection: nothing worse than a logarithm is right. */
  readonly onPath: boolean;
}

/** One visit of one point; by key of the figure. */
export type Visit = Readonly<Record<string, number>>;

export interface Curve {
  /** As given to `--only`. */
  readonly key: string;
  readonly title: string;
  readonly xLabel: string;
  readonly points: readonly number[];
  readonly quickPoints: readonly number[];
  readonly figures: readonly Figure[];
  /** Goes to the point and measures there. Rejects when that cannot be done. */
  readonly visit: (x: number, ground: Ground) => Promise<Visit>;
  /** Leaves the world as it was. */
  readonly leave: (ground: Ground) => Promise<void>;
}

/** Where curves are walked: one lab with Ambit's ztunnel pair, and pods that no proxy serves. */
export interface Ground {
  readonly world: World;
  /** Of each load. */
  readonly seconds: number;
  readonly progress: (text: string) => void;
}
