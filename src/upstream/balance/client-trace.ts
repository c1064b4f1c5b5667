/**
 * Whose requests an endpoint answered lately. At a waypoint all clients share what is known of an endpoint, so one that sends
 * requests which end in errors could have endpoints ejected for everybody. While an endpoint answers others well, the errors of
 * one client say something about that client alone.
 *
 * Pure but for the trace, which is the caller's and changed in place. Two clients are remembered, whatever their number.
 */
import type { OutlierEvent } from './outlier.ts';

interface Success {
  readonly client: string;
  atMs: number;
}

export interface ClientTrace {
  /** Whose the present run of errors is; undefined: there is none. */
  run: string | undefined;
  /** It is of several. */
  mixed: boolean;
  last: Success | undefined;
  /** The last of another client than that. */
  before: Success | undefined;
}

export function newClientTrace(): ClientTrace {
  return { run: undefined, mixed: false, last: undefined, before: undefined };
}

export function trace(clients: ClientTrace, client: string, event: OutlierEvent, nowMs: number): void {
  if (event.kind === 'connected' || (event.kind === 'status' && event.status < 500)) {
    clients.run = undefined;
    clients.mixed = false;
    if (clients.last?.client === client) clients.last.atMs = nowMs;
    else {
      clients.before = clients.last;
      clients.last = { client, atMs: nowMs };
    }
    return;
  }
  clients.mixed ||= clients.run !== undefined && clients.run !== client;
  clients.run ??= client;
}

/** The errors are one client's, and another was answered well a moment ago. */
export function isOneClientsMatter(
  { run, mixed, last, before }: ClientTrace,
  withinMs: number,
  nowMs: number,
): boolean {
  if (run === undefined || mixed) return false;
  const isOther = (success: Success | undefined) =>
    success !== undefined && success.client !== run && nowMs - success.atMs <= withinMs;
  return isOther(last) || isOther(before);
}
