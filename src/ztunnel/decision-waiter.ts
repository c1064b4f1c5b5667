/**
 * Waiting for the mesh to know enough to decide: an attempt is repeated after each change, until it answers or its time
 * is over. Bounded in number, in all and for each place; beyond that nobody waits, and what cannot be decided is refused.
 *
 * I1: however many wait and however fast the mesh changes, a turn of the loop repeats a slice of them, each once for all
 *     changes since its last turn.
 */
import type { Clock } from '../base/clock.ts';
import type { MeshView } from '../mesh/view.ts';

const sliceSize = 256;

export class DecisionWaiter {
  readonly #mesh: MeshView;
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #byOwner = new WeakMap<object, number>();
  readonly #waiting = new Set<() => void>();
  readonly #toRepeat = new Set<() => void>();
  #repeating = false;

  constructor(mesh: MeshView, clock: Clock, limit = 4096) {
    this.#mesh = mesh;
    this.#clock = clock;
    this.#limit = limit;
    mesh.onChange(() => {
      for (const attempt of this.#waiting) this.#toRepeat.add(attempt);
      this.#repeat();
    });
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * The first answer of `attempt` that is not undefined; undefined when there was none in time. Never rejects. `owner`: the
   * pod's place, of whose share it is.
   */
  until<T>(forMs: number, attempt: () => T | undefined, owner?: object): Promise<T | undefined> {
    const first = this.#mesh.complete ? attempt() : undefined;
    if (first !== undefined || this.#isFull(owner)) return Promise.resolve(first);
    this.#count(owner, 1);
    return new Promise((resolve) => {
      const settle = (answer: T | undefined) => {
        timer.cancel();
        this.#waiting.delete(again);
        this.#toRepeat.delete(again);
        this.#count(owner, -1);
        resolve(answer);
      };
      const again = () => {
        const answer = attempt();
        if (answer !== undefined) settle(answer);
      };
      const timer = this.#clock.after(forMs, () => settle(attempt()));
      this.#waiting.add(again);
    });
  }

  /** A pod that the mesh does not know yet must not keep those that come after it from waiting. */
  #isFull(owner: object | undefined): boolean {
    if (this.#waiting.size >= this.#limit) return true;
    return owner !== undefined && (this.#byOwner.get(owner) ?? 0) >= this.#limit / 8;
  }

  #count(owner: object | undefined, by: number): void {
    if (owner !== undefined) this.#byOwner.set(owner, (this.#byOwner.get(owner) ?? 0) + by);
  }

  #repeat(): void {
    if (this.#repeating || this.#toRepeat.size === 0) return;
    this.#repeating = true;
    setImmediate(() => {
      this.#repeating = false;
      let left = sliceSize;
      for (const attempt of this.#toRepeat) {
        if (left-- === 0) break;
        this.#toRepeat.delete(attempt);
        attempt();
      }
      this.#repeat();
    });
  }
}
