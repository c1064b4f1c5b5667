/** The relay held to the seam: bytes, half-close, resets, back-pressure. */
import { onEachEngine } from '../../support/http2-engines.ts';
import { byteCompliance } from '../../support/relay-compliance.ts';

await onEachEngine('bytes', byteCompliance);
