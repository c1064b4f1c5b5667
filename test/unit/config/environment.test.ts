/** Reading settings from the environment: defaults, units, and all problems at once. */
import t from 'tap';
import {
  choice,
  duration,
  environmentWithPrefix,
  flag,
  integer,
  optionalText,
  parseDuration,
  port,
  readEnvironment,
  text,
} from '../../../src/config/environment.ts';

const shape = {
  XDS_ADDRESS: text('https://localhost:15012'),
  NODE_NAME: optionalText(),
  IPV6_ENABLED: flag(true),
  AMBIT_ADMIN_PORT: port(15000),
  POOL: integer(100, 1, 65_535),
  DRAIN: duration(5000),
  AMBIT_PRESET: choice(['legacy', 'modern'], 'modern'),
};

t.test('an empty environment gives the defaults', async (t) => {
  const outcome = readEnvironment(shape, {});
  t.strictSame(outcome, {
    kind: 'read',
    settings: {
      XDS_ADDRESS: 'https://localhost:15012',
      NODE_NAME: undefined,
      IPV6_ENABLED: true,
      AMBIT_ADMIN_PORT: 15000,
      POOL: 100,
      DRAIN: 5000,
      AMBIT_PRESET: 'modern',
    },
  });
});

t.test('values are read in their units, and others than those asked for are ignored', async (t) => {
  const outcome = readEnvironment(shape, {
    XDS_ADDRESS: '',
    NODE_NAME: '',
    IPV6_ENABLED: 'false',
    AMBIT_ADMIN_PORT: '0',
    POOL: '0x10',
    DRAIN: '1m30s',
    AMBIT_PRESET: 'legacy',
    OTHER: 'x',
  });
  t.match(outcome, {
    kind: 'read',
    settings: {
      XDS_ADDRESS: '',
      IPV6_ENABLED: false,
      AMBIT_ADMIN_PORT: 0,
      POOL: 16,
      DRAIN: 90_000,
      AMBIT_PRESET: 'legacy',
    },
  });
});

t.test('all problems are listed at once, each naming its variable', async (t) => {
  const outcome = readEnvironment(shape, {
    IPV6_ENABLED: 'yes',
    AMBIT_ADMIN_PORT: '70000',
    DRAIN: 'soon',
    AMBIT_PRESET: 'old',
  });
  t.equal(outcome.kind, 'problems');
  if (outcome.kind !== 'problems') return;
  t.strictSame(outcome.problems, [
    'IPV6_ENABLED="yes": must be true or false',
    'AMBIT_ADMIN_PORT="70000": must be a whole number from 0 to 65535',
    'DRAIN="soon": must be a duration such as 250ms, 10s or 1h30m',
    'AMBIT_PRESET="old": must be one of legacy, modern',
  ]);
});

t.test('durations are text with units or plain seconds', async (t) => {
  t.equal(parseDuration('250ms'), 250);
  t.equal(parseDuration('1h30m'), 5_400_000);
  t.equal(parseDuration('24h'), 86_400_000);
  t.equal(parseDuration('5'), 5000);
  for (const nonsense of ['', '5 s', '-1s', '1x', 's']) t.equal(parseDuration(nonsense), undefined);
});

t.test('variables of a prefix are found by what follows it', async (t) => {
  const found = environmentWithPrefix({ XDS_HEADER_a: '1', XDS_HEADER_: '2', OTHER: '3' }, 'XDS_HEADER_');
  t.strictSame([...found], [['a', '1']]);
});
