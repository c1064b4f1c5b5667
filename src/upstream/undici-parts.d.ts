/** Parts of undici that have no types of their own; `undici.ts` says what they are. */
declare module 'undici/lib/core/errors.js' {
  const part: unknown;
  export = part;
}
declare module 'undici/lib/core/request.js' {
  const part: unknown;
  export = part;
}
declare module 'undici/lib/dispatcher/client.js' {
  const part: unknown;
  export = part;
}
declare module 'undici/lib/dispatcher/pool.js' {
  const part: unknown;
  export = part;
}
