/** The relay on node:http2 held to the seam: bytes, half-close, resets, back-pressure. */
import { onEngine } from '../../support/http2-engines.ts';
import { byteCompliance } from '../../support/relay-compliance.ts';

await onEngine('node', 'bytes', byteCompliance);
