/** HTTP/2's numbers (RFC 9113 §4.1, §6, §7), and the error that ends a connection. */

export const frameType = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

export const setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const errorCode = {
  noError: 0,
  protocolError: 1,
  flowControlError: 3,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  connectError: 10,
  enhanceYourCalm: 11,
} as const;

const names = new Map<number, string>(
  Object.entries(errorCode).map(([name, code]) => [
    code,
    name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase(),
  ]),
);

export const connectionPreface: Uint8Array = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');
export const headBytes = 9;
export const largestWindow = 2 ** 31 - 1;
/** What a peer may assume before it has our SETTINGS, and we before we have its (§6.5.2, §6.9.2). */
export const firstWindowBytes = 65_535;
export const firstFrameBytes = 16_384;

/** The peer broke the protocol, or a bound: the connection ends with GOAWAY and this code (§5.4.1). */
export class ConnectionError extends Error {
  readonly code: number;

  constructor(code: number, what: string) {
    super(`${names.get(code) ?? code}: ${what}`);
    this.code = code;
  }
}
