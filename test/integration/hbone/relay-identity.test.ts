/** The relay held to the seam: identity before bytes. */
import { onEachEngine } from '../../support/http2-engines.ts';
import { identityCompliance } from '../../support/relay-identity.ts';

await onEachEngine('identity', identityCompliance);
