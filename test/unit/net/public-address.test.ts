import t from 'tap';
import { isLocalAddress, isPublicAddress } from '../../../src/net/public-address.ts';

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

t.test('this machine and its link are told apart from what is merely private', async (t) => {
  const local = ['0.0.0.0', '127.0.0.1', '127.9.9.9', '169.254.169.254', '224.0.0.1', '255.255.255.255'];
  const local6 = [
    '::',
    '::1',
    '::ffff:10.0.0.1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    'fe80::1',
    'ff02::1',
    'fd00:ec2::254',
  ];
  const metadata = ['100.100.100.200', '192.0.0.192', '168.63.129.16', 'fd20:ce::254'];
  t.notOk(isPublicAddress('168.63.129.16'));
  for (const ip of [...local, ...local6, ...metadata]) t.ok(isLocalAddress(ip), ip);
  for (const ip of ['10.0.0.1', '192.168.1.1', '100.64.0.1', '8.8.8.8', 'fd00::1', '2606:4700::1']) {
    t.notOk(isLocalAddress(ip), ip);
  }
});
