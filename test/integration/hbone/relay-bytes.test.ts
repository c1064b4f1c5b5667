/** The relay on node:http2 held to the seam: bytes, half-close, resets, back-pressure. */
import t from 'tap';
import { createRelay } from '../../../src/hbone/relay.ts';
import { byteCompliance } from '../../support/relay-compliance.ts';

await byteCompliance(t, createRelay);
