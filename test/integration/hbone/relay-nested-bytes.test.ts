/** Tunnels inside tunnels held to the seam: bytes, half-close, resets, back-pressure through both. */
import t from 'tap';
import { createRelay } from '../../../src/hbone/relay.ts';
import { byteCompliance } from '../../support/relay-compliance.ts';
import { behindGateway } from '../../support/relay-world.ts';

await byteCompliance(t, behindGateway(createRelay));
