/** Who looks on while a request body passes. Nothing it does slows the body; each of `end` and `fail` is the last call. */
export interface BodyObserver {
  /** The chunk is shared: it is not to be changed. */
  take(chunk: Buffer): void;
  end(): void;
  /** The body broke off, or nobody wants its rest. */
  fail(error: Error): void;
}
