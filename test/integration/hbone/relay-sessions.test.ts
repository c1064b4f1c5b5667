/** The relay on node:http2 held to the seam: sessions, verdicts, limits and deadlines. */
import t from 'tap';
import { createRelay } from '../../../src/hbone/relay.ts';
import { sessionCompliance } from '../../support/relay-sessions.ts';

await sessionCompliance(t, createRelay);
