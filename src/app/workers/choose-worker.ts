/** Which worker the next connection goes to: the one with the fewest, so that all have as many as any other, give or take one. */

export interface WorkerLoad {
  /** Connections that were handed to it and have not ended. */
  readonly connections: number;
  /** Tunnels in them: what decides between equals. */
  readonly tunnels: number;
  /** It serves, and is not to leave. */
  readonly taking: boolean;
}

/** Those that were found full are passed over. Undefined: nobody can take it now. */
export function chooseWorker<Worker extends WorkerLoad>(
  workers: readonly Worker[],
  full: ReadonlySet<Worker>,
): Worker | undefined {
  let best: Worker | undefined;
  for (const worker of workers) {
    if (!worker.taking || full.has(worker)) continue;
    if (best === undefined || isLighter(worker, best)) best = worker;
  }
  return best;
}

function isLighter(a: WorkerLoad, b: WorkerLoad): boolean {
  return a.connections === b.connections ? a.tunnels < b.tunnels : a.connections < b.connections;
}
