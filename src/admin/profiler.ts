/**
 * CPU and heap profiles of this process, by an inspector session within it: nothing listens anywhere, and nobody outside
 * can attach. One profile at a time; the inspector is loaded when the first is asked for.
 */
import type { Session } from 'node:inspector/promises';
import type { Clock } from '../base/clock.ts';
import type { CpuProfile, HeapProfile } from './pprof.ts';

export interface CpuOptions {
  readonly seconds: number;
  /** Samples a second. */
  readonly frequency: number;
  readonly form: 'pprof' | 'cpuprofile';
}

export type ProfileOutcome =
  | { readonly kind: 'profile'; readonly bytes: Uint8Array }
  | { readonly kind: 'busy' }
  /** Whoever asked has left. */
  | { readonly kind: 'gone' };

/** Calls back when whoever asked leaves. */
export type OnGone = (callback: () => void) => void;

/** One sample of so many bytes allocated, on average: what V8 does by default costs a few percent, this next to nothing. */
const heapIntervalBytes = 128 * 1024;

export class Profiler {
  readonly #clock: Clock;
  #busy = false;
  /** While allocations are being sampled. */
  #heap: Session | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get samplesHeap(): boolean {
    return this.#heap !== undefined;
  }

  cpu(options: CpuOptions, onGone: OnGone): Promise<ProfileOutcome> {
    return this.#alone(async (session) => {
      const { frequency, seconds, form } = options;
      await session.post('Profiler.enable');
      await session.post('Profiler.setSamplingInterval', { interval: Math.round(1e6 / frequency) });
      await session.post('Profiler.start');
      const stayed = await this.#wait(seconds, onGone);
      const { profile } = await session.post('Profiler.stop');
      await session.post('Profiler.disable');
      if (!stayed) return undefined;
      if (form === 'cpuprofile') return Buffer.from(JSON.stringify(profile));
      const { cpuPprof } = await import('./pprof.ts');
      return await cpuPprof(profile as CpuProfile, frequency, this.#clock.wallMs());
    });
  }

  /** What was allocated since sampling began and still lives; when it is off, it is on for so long. */
  async heap(seconds: number, onGone: OnGone): Promise<ProfileOutcome> {
    const running = this.#heap;
    if (running !== undefined) return { kind: 'profile', bytes: await this.#heapProfile(running) };
    return await this.#alone(async (session) => {
      await session.post('HeapProfiler.startSampling', { samplingInterval: heapIntervalBytes });
      const stayed = await this.#wait(seconds, onGone);
      const bytes = stayed ? await this.#heapProfile(session) : undefined;
      await session.post('HeapProfiler.stopSampling');
      return bytes;
    });
  }

  async activateHeap(): Promise<void> {
    if (this.#heap !== undefined || this.#busy) return;
    this.#busy = true;
    try {
      const session = await openSession();
      await session.post('HeapProfiler.startSampling', { samplingInterval: heapIntervalBytes });
      this.#heap = session;
    } finally {
      this.#busy = false;
    }
  }

  async deactivateHeap(): Promise<void> {
    const session = this.#heap;
    this.#heap = undefined;
    await session?.post('HeapProfiler.stopSampling');
    session?.disconnect();
  }

  async #heapProfile(session: Session): Promise<Uint8Array> {
    const { profile } = await session.post('HeapProfiler.getSamplingProfile');
    const { heapPprof } = await import('./pprof.ts');
    return await heapPprof(profile as unknown as HeapProfile, heapIntervalBytes, this.#clock.wallMs());
  }

  async #alone(work: (session: Session) => Promise<Uint8Array | undefined>): Promise<ProfileOutcome> {
    if (this.#busy) return { kind: 'busy' };
    this.#busy = true;
    let session: Session | undefined;
    try {
      session = await openSession();
      const bytes = await work(session);
      return bytes === undefined ? { kind: 'gone' } : { kind: 'profile', bytes };
    } finally {
      session?.disconnect();
      this.#busy = false;
    }
  }

  /** Whether it was waited to the end. */
  #wait(seconds: number, onGone: OnGone): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(seconds * 1000, () => resolve(true));
      onGone(() => {
        timer.cancel();
        resolve(false);
      });
    });
  }
}

async function openSession(): Promise<Session> {
  const inspector = await import('node:inspector/promises');
  const session = new inspector.Session();
  session.connect();
  return session;
}
