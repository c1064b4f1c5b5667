/**
 * What the admin port reads through. Declared here, wired by `app/`, so that this room knows no other (design §3).
 */

export interface ReadinessSource {
  /** Names of what is still awaited, for `not ready, pending: …`; empty when ready. */
  pending(): readonly string[];
}

/** A view of live state. Called per request; what may be large comes in chunks, made while they are sent. */
export interface View {
  readonly name: string;
  readonly contentType: 'application/json' | 'text/plain; charset=utf-8';
  render(query: URLSearchParams): string | AsyncIterable<string>;
}

export interface LevelControl {
  /** `info`, `info,hbone:debug`; throws an AmbitError on nonsense. `reset` replaces what was set before. */
  set(directives: string, reset: boolean): void;
  current(): string;
  /** What the program started with. */
  reset(): void;
}

export interface MetricsSource {
  /** Prometheus text or, when `openMetrics`, OpenMetrics. Made while it is sent. */
  render(openMetrics: boolean): { readonly contentType: string; readonly body: AsyncIterable<string> };
}

export interface AdminDependencies {
  readonly readiness: ReadinessSource;
  readonly metrics: MetricsSource;
  readonly levels: LevelControl;
  /** `/config_dump` with its `?view=`; the view named `` (empty) is the whole dump. */
  readonly views: readonly View[];
  /** Starts a graceful shutdown. */
  readonly quit: () => void;
  /** Stops accepting and tells peers to go elsewhere, without ending; undefined: the program cannot. */
  readonly drain?: () => void;
  /** Puts others in the place of its workers, one by one; undefined: it has none. */
  readonly renew?: () => void;
}
