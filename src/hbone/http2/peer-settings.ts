/** What the peer's SETTINGS say (RFC 9113 §6.5), with what holds before they have come. */
import { ConnectionError, errorCode, firstFrameBytes, firstWindowBytes, largestWindow, setting } from './codes.ts';

const entryBytes = 6;
const mostFrameBytes = 2 ** 24 - 1;
/** No more streams than numbers. */
const anyStreams = 2 ** 30;
/** RFC 7541 §4.2: of a peer that says nothing else. */
const firstTableBytes = 4096;
/** RFC 7541 §6.3: the table has no room. */
const noTable = Buffer.from([0x20]);

export class PeerSettings {
  maxStreams = anyStreams;
  streamWindowBytes = firstWindowBytes;
  maxFrameBytes = firstFrameBytes;
  /** A table smaller than at first must be acknowledged by the next header block, also by those who use none. */
  #tableShrank = false;

  /** Returns by how much the windows of streams are wider now. Throws ConnectionError. */
  apply(payload: Buffer, fromServer: boolean): number {
    if (payload.length % entryBytes !== 0) throw new ConnectionError(errorCode.frameSizeError, 'SETTINGS cut short');
    const before = this.streamWindowBytes;
    for (let at = 0; at < payload.length; at += entryBytes) {
      this.#set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2), fromServer);
    }
    return this.streamWindowBytes - before;
  }

  /** A header block of ours as it has to be sent now. */
  withTableUpdate(block: Buffer): Buffer {
    if (!this.#tableShrank) return block;
    this.#tableShrank = false;
    return Buffer.concat([noTable, block]);
  }

  #set(key: number, value: number, fromServer: boolean): void {
    switch (key) {
      case setting.headerTableSize:
        if (value < firstTableBytes) this.#tableShrank = true;
        return;
      case setting.enablePush:
        if (value > (fromServer ? 0 : 1)) throw new ConnectionError(errorCode.protocolError, `ENABLE_PUSH ${value}`);
        return;
      case setting.maxConcurrentStreams:
        this.maxStreams = Math.min(value, anyStreams);
        return;
      case setting.initialWindowSize:
        if (value > largestWindow) throw new ConnectionError(errorCode.flowControlError, `a window of ${value} bytes`);
        this.streamWindowBytes = value;
        return;
      case setting.maxFrameSize:
        if (value < firstFrameBytes || value > mostFrameBytes) {
          throw new ConnectionError(errorCode.protocolError, `frames of ${value} bytes`);
        }
        this.maxFrameBytes = value;
        return;
    }
  }
}

export function settingsPayload(entries: readonly (readonly [key: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(entries.length * entryBytes);
  for (const [index, [key, value]] of entries.entries()) {
    payload.writeUInt16BE(key, index * entryBytes);
    payload.writeUInt32BE(value, index * entryBytes + 2);
  }
  return payload;
}
