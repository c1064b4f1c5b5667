/**
 * The words of the bench: systems that carry the same bytes between the same two places, loads that each of them is put
 * under, and what one turn of one load on one system gave.
 *
 * I1: figures of one run compare with each other only. Whatever is concluded is a ratio of two systems in the same turn.
 */
import type { Lab } from '../src/lab/lab.ts';

/** What every origin offers. Loads name one of these; a system says which it can carry. */
export const ports = {
  /** HTTP/1.1, 350 bytes from nginx. */
  http: 9080,
  /** The same by HTTP/2 with prior knowledge. */
  h2c: 9082,
  /** Sends back what it is sent, byte by byte. */
  echo: 9081,
  /** iperf3. */
  bulk: 5201,
} as const;

export type PortName = keyof typeof ports;

/** A process whose work counts for a system. */
export interface Proxy {
  readonly name: string;
  readonly pid: number;
}

/** One way from a client's pod to an origin. It runs for the whole bench, idle while others have their turn. */
export interface System {
  /** As given to `--only`: `envoy-pair`. */
  readonly key: string;
  /** As shown: `Envoy pair`. */
  readonly name: string;
  /** What it is compared with: L4 with L4, L7 with L7, `none` with all. */
  readonly layer: 'none' | 'l4' | 'l7';
  readonly ours: boolean;
  /** Version, threads, TLS, what is switched on and off: `Envoy 1.40.0, 1 worker, TLS 1.3 AES-GCM P-256, logs off`. */
  readonly settings: string;
  readonly serves: ReadonlySet<PortName>;
  /** Pod that a load is started in, and the address it is sent to there. */
  readonly pod: string;
  readonly host: string;
  /** Asked anew for each turn: a system may have replaced a process. */
  proxies(): readonly Proxy[];
}

/** A system that this machine lacks something for. */
export interface MissingSystem {
  readonly key: string;
  readonly name: string;
  /** With the line that installs it. */
  readonly reason: string;
}

export interface Latency {
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
}

export interface LoadResult {
  /** Requests, connections, round trips or GB (1e9 bytes) that went through; see `Load.unit`. */
  readonly units: number;
  readonly perSecond: number;
  readonly latency?: Latency;
  /** Wrong answers, refused and broken connections. */
  readonly errors: number;
  /** The errors by name, as the load's program says it. Absent when there are none. */
  readonly causes?: Readonly<Record<string, number>>;
}

export interface Turn {
  readonly lab: Lab;
  readonly system: System;
  /** How long the load lasts, where it is not ended by a count. */
  readonly seconds: number;
  /** Requests per second, for loads of `fixedRate`. */
  readonly ratePerSecond: number;
  /** Takes the proxies' figures now rather than at the end: for a load that holds something open. */
  sample(): void;
}

export interface Load {
  /** As given to `--load`: `requests-32`. */
  readonly key: string;
  /** As shown: `32 connections, kept alive`. */
  readonly name: string;
  readonly unit: 'request' | 'connection' | 'round trip' | 'GB' | 'idle connection';
  readonly port: PortName;
  readonly layers: readonly ('l4' | 'l7')[];
  /** Sent at a rate found in the same run: half of what the slowest of the compared systems reached under `requests-32`. */
  readonly fixedRate?: true;
  /** One of the few of `--quick`. */
  readonly quick?: true;
  /** Rejects when the load's own program cannot run or says what cannot be read. */
  run(turn: Turn): Promise<LoadResult>;
}

export interface Usage {
  readonly name: string;
  readonly cpuSeconds: number;
  readonly rssBytes: number;
  /** Since the turn began. */
  readonly peakRssBytes: number;
}

/** One turn. */
export interface Measurement {
  readonly load: string;
  readonly system: string;
  readonly repeat: number;
  readonly result: LoadResult;
  readonly before: readonly Usage[];
  readonly after: readonly Usage[];
  /** Of the processors' time, what other guests of the host had meanwhile. */
  readonly stolenShare: number;
}
