/** Connections that ask one after the other for the same thing and tell which version of the route answered. */
import type { Duplex } from 'node:stream';

export interface Hammer {
  readonly answered: number;
  /** Anything but a whole 200. */
  readonly failed: readonly string[];
  /** Resolves when an answer of the version has come. */
  until(version: string): Promise<void>;
  stop(): void;
}

const request = (path: string) => `GET ${path} HTTP/1.1\r\nhost: s0.shop\r\n\r\n`;

export function hammer(streams: readonly Duplex[], path: string): Hammer {
  let answered = 0;
  let stopped = false;
  const failed: string[] = [];
  const waiting = new Map<string, () => void>();
  for (const stream of streams) {
    let text = '';
    const fail = (why: string) => {
      if (!stopped) failed.push(why);
    };
    stream.on('error', (error) => fail(error.message));
    stream.on('close', () => fail('closed'));
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? Number.NaN);
      if (text.length < end + 4 + length) return;
      answered++;
      if (!text.startsWith('HTTP/1.1 200 ')) fail(text.slice(0, 40));
      const version = /x-version: (\S+)/i.exec(text)?.[1] ?? '';
      waiting.get(version)?.();
      waiting.delete(version);
      text = '';
      if (!stopped) stream.write(request(path));
    });
    stream.write(request(path));
  }
  return {
    get answered() {
      return answered;
    },
    failed,
    until: (version) => new Promise((resolve) => waiting.set(version, resolve)),
    stop() {
      stopped = true;
      for (const stream of streams) stream.destroy();
    },
  };
}
