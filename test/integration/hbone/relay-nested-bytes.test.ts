/** Tunnels inside tunnels held to the seam: bytes, half-close, resets, back-pressure through both. */
import { onEachEngine } from '../../support/http2-engines.ts';
import { byteCompliance } from '../../support/relay-compliance.ts';
import { behindGateway } from '../../support/relay-world.ts';

await onEachEngine('bytes behind a gateway', (t, make) => byteCompliance(t, behindGateway(make)));
