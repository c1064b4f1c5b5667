/** Tunnels inside tunnels on frames of our own held to the seam: bytes, half-close, resets, back-pressure through both. */
import { onEngine } from '../../support/http2-engines.ts';
import { byteCompliance } from '../../support/relay-compliance.ts';
import { behindGateway } from '../../support/relay-world.ts';

await onEngine('framing', 'bytes behind a gateway', (t, make) => byteCompliance(t, behindGateway(make)));
