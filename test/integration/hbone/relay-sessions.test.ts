/** The relay held to the seam: sessions, verdicts, limits and deadlines. */
import { onEachEngine } from '../../support/http2-engines.ts';
import { sessionCompliance } from '../../support/relay-sessions.ts';

await onEachEngine('sessions', sessionCompliance);
