/**
 * Size of heads as HTTP/1.1 writes them: what Istio's size metrics add to bodies. HTTP/2's field compression, framing of bodies
 * and hop-by-hop headers are not in it: Node does not tell, and they are a matter of the connection, not of the message.
 */
import { type HeaderList, headerBytes } from './header-list.ts';

export function requestHeadBytes(method: string, targetLength: number, authority: string, headers: HeaderList): number {
  const line = method.length + targetLength + ' HTTP/1.1\r\n'.length + 1;
  return line + 'host: \r\n'.length + authority.length + fieldBytes(headers) + 2;
}

/** 0 for a response that never began. */
export function responseHeadBytes(status: number, headers: HeaderList, trailers: HeaderList): number {
  if (status === 0) return 0;
  return 'HTTP/1.1 200 OK\r\n'.length + fieldBytes(headers) + 2 + fieldBytes(trailers);
}

/** `: ` and the line's end with each. */
function fieldBytes(headers: HeaderList): number {
  return headerBytes(headers) + headers.length * 2;
}
