/** What our control plane encodes reads as what it had. */
import { toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import t from 'tap';
import { AuthorizationSchema } from '../../../src/proto/gen/authorization_pb.js';
import { AddressSchema } from '../../../src/proto/gen/workload_pb.js';
import { decodeAddress } from '../../../src/xds/decode-address.ts';
import { decodeAuthorization } from '../../../src/xds/decode-authorization.ts';
import { encodePolicy, encodeService, encodeWorkload } from '../../../src/xds/encode-records.ts';
import { Interner } from '../../../src/xds/interner.ts';
import { addressMessage, authorizationMessage } from '../../support/xds-messages.ts';

t.test('workloads and services survive the wire', async (t) => {
  const interner = new Interner();
  let records = 0;
  fc.assert(
    fc.property(addressMessage, (message) => {
      const first = decodeAddress('name', toBinary(AddressSchema, message), interner);
      if (first.kind === 'invalid') return;
      records++;
      const bytes = first.kind === 'workload' ? encodeWorkload(first.workload) : encodeService(first.service);
      t.strictSame(decodeAddress('name', bytes, interner), first);
    }),
    { numRuns: 200 },
  );
  t.ok(records > 50, `${records} records`);
});

t.test('policies survive the wire', async (t) => {
  let records = 0;
  fc.assert(
    fc.property(authorizationMessage, (message) => {
      const first = decodeAuthorization('name', toBinary(AuthorizationSchema, message));
      if (first.kind === 'invalid') return;
      records++;
      t.strictSame(decodeAuthorization('name', encodePolicy(first.policy)), first);
    }),
    { numRuns: 200 },
  );
  t.ok(records > 50, `${records} records`);
});
