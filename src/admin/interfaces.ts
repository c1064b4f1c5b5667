/**
 * What the admin port reads through. Declared here, wired by `app/`, so that this room knows no other (design §3).
 */

export interface ReadinessSource {
  /** Names of what is still awaited, for `not ready, pending: …`; empty when ready. */
  pending(): readonly string[];
}

/** A view of live state. Called per request; the answer is JSON or finished text. */
export interface View {
  readonly name: string;
  readonly contentType: 'application/json' | 'text/plain; charset=utf-8';
  render(query: URLSearchParams): string;
}

export interface LevelControl {
  /** `info`, `info,hbone:debug`; throws an AmbitError on nonsense. `reset` replaces what was set before. */
  set(directives: string, reset: boolean): void;
  current(): string;
}

export interface MetricsSource {
  /** Prometheus text or, when `openMetrics`, OpenMetrics. */
  render(openMetrics: boolean): Promise<{ readonly contentType: string; readonly body: string }>;
}

export interface AdminDependencies {
  readonly readiness: ReadinessSource;
  readonly metrics: MetricsSource;
  readonly levels: LevelControl;
  /** `/config_dump` with its `?view=`; the view named `` (empty) is the whole dump. */
  readonly views: readonly View[];
  /** Starts a graceful shutdown. */
  readonly quit: () => void;
}
