/** How long a stage waits for a body that it must see before anything goes on (`AMBIT_BODY_TIMEOUT`), and what comes then. */
import type { BodyDeadline } from '../../http/peeked-body.ts';
import type { WaypointServices } from '../context.ts';
import type { StageReply } from './stage.ts';

/** Of a body that is begun to be waited for now. */
export function bodyDeadline({ clock, settings }: Pick<WaypointServices, 'clock' | 'settings'>): BodyDeadline {
  return { clock, atMs: clock.nowMs() + settings.bodyTimeoutMs };
}

/** Whatever the failure mode of who wanted to see it: it is the client who is late (RFC 9110 §15.5.9). */
export const lateBody: StageReply = {
  kind: 'reply',
  status: 408,
  body: 'Request Timeout',
  flags: '-',
  details: 'request_body_timeout',
};
