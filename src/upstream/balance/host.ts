/**
 * One endpoint as a cluster knows it: what is under way to it, and whether it is believed to be well. There may be ten thousand
 * of them: what few of them need is made when it is needed.
 */
import { formatSocketAddress } from '../../base/address.ts';
import type { Workload } from '../../mesh/model.ts';
import { type ClientTrace, newClientTrace } from './client-trace.ts';
import { hashText } from './hash-text.ts';
import { newOutlierState, type OutlierState } from './outlier.ts';

export class Host {
  readonly uid: string;
  /** Of the moment: records are replaced. */
  workload: Workload;
  /** The application's port. */
  readonly port: number;
  weight: number;
  /** Requests and connections under way. */
  active = 0;
  /** When it joined. */
  readonly sinceMs: number;
  /** It is still an endpoint. */
  present = true;
  /** Active health checks fail. */
  failing = false;
  /** Checks that failed, or for a failing host succeeded, in a row. */
  checks = 0;
  /** A check is under way. */
  checked = false;
  /** Of the cluster's last look at its endpoints that found it. */
  look = 0;
  #outlier: OutlierState | undefined;
  #clients: ClientTrace | undefined;
  #key: string | undefined;
  #keyHash: number | undefined;

  constructor(workload: Workload, port: number, nowMs: number) {
    this.uid = workload.uid;
    this.workload = workload;
    this.port = port;
    this.weight = workload.capacity;
    this.sinceMs = nowMs;
  }

  /** What is hashed: its address, the same wherever it is looked at. */
  get key(): string {
    this.#key ??= addressOf(this.workload, this.port);
    return this.#key;
  }

  get keyHash(): number {
    this.#keyHash ??= hashText(this.key);
    return this.#keyHash;
  }

  /** Something was ever observed of it. */
  get watched(): boolean {
    return this.#outlier !== undefined;
  }

  get outlier(): OutlierState {
    this.#outlier ??= newOutlierState();
    return this.#outlier;
  }

  get clients(): ClientTrace {
    this.#clients ??= newClientTrace();
    return this.#clients;
  }

  get ejected(): OutlierState['ejected'] {
    return this.#outlier?.ejected;
  }

  get healthy(): boolean {
    return !this.failing && this.#outlier?.ejected === undefined;
  }
}

function addressOf({ addresses: [ip], hostname, uid }: Workload, port: number): string {
  return ip === undefined ? `${hostname === '' ? uid : hostname}:${port}` : formatSocketAddress({ ip, port });
}
