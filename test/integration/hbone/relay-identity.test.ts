/** The relay on node:http2 held to the seam: identity before bytes. */
import t from 'tap';
import { createRelay } from '../../../src/hbone/relay.ts';
import { identityCompliance } from '../../support/relay-identity.ts';

await identityCompliance(t, createRelay);
