/** One endpoint as a cluster knows it: what is under way to it, and whether it is believed to be well. */
import type { Workload } from '../../mesh/model.ts';
import { newOutlierState, type OutlierState } from './outlier.ts';

export class Host {
  readonly uid: string;
  /** Of the moment: records are replaced. */
  workload: Workload;
  /** What is hashed: its address. */
  readonly key: string;
  weight: number;
  /** Requests and connections under way. */
  active = 0;
  /** When it joined. */
  readonly sinceMs: number;
  /** It is still an endpoint. */
  present = true;
  /** Active health checks fail. */
  failing = false;
  readonly outlier: OutlierState = newOutlierState();

  constructor(workload: Workload, key: string, nowMs: number) {
    this.uid = workload.uid;
    this.workload = workload;
    this.key = key;
    this.weight = workload.capacity;
    this.sinceMs = nowMs;
  }

  get healthy(): boolean {
    return !this.failing && this.outlier.ejected === undefined;
  }
}
