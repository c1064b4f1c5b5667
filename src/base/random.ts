/** Randomness as a dependency. Not for keys or tokens: those come from node:crypto where they are made. */

export interface Random {
  /** Uniform in [0, 1). */
  next(): number;
}

export const systemRandom: Random = { next: () => Math.random() };

/** Index of a weighted choice, or -1 when no weight is positive. */
export function pickWeighted(weights: readonly number[], random: Random): number {
  let total = 0;
  for (const weight of weights) if (weight > 0) total += weight;
  if (total <= 0) return -1;
  let point = random.next() * total;
  let last = -1;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i] as number;
    if (weight <= 0) continue;
    last = i;
    point -= weight;
    if (point < 0) return i;
  }
  return last;
}
