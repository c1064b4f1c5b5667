import t from 'tap';
import { isPublicAddress } from '../../../src/net/public-address.ts';

t.test('only addresses of the public Internet are public', async (t) => {
  for (const ip of ['8.8.8.8', '1.1.1.1', '172.15.0.1', '172.32.0.1', '2606:4700::1111', '2a00:1450:4001::1']) {
    t.ok(isPublicAddress(ip), ip);
  }
  const special = [
    ...[
      '127.0.0.1',
      '10.0.0.1',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '169.254.169.254',
      '100.64.0.1',
      '0.0.0.0',
    ],
    ...['224.0.0.1', '255.255.255.255', '::', '::1', '::ffff:8.8.8.8', '::ffff:127.0.0.1', '64:ff9b::7f00:1'],
    ...['2002:7f00:1::', '2001::1', '2001:db8::1', 'fe80::1', 'fd00:ec2::254', 'ff02::1'],
  ];
  for (const ip of special) t.notOk(isPublicAddress(ip), ip);
});
