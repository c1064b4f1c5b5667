/** Path normalisation: the one spelling of a path that policies see and applications get. */
import fc from 'fast-check';
import t from 'tap';
import { isAuthority, normalisePath, type PathNormalization, parseTarget } from '../../../src/http/request-target.ts';

t.test('spellings of one path become one text', async (t) => {
  const cases: [string, string][] = [
    ['/', '/'],
    ['/a/b', '/a/b'],
    ['/a/./b', '/a/b'],
    ['/a/../b', '/b'],
    ['/../../etc', '/etc'],
    ['/a/b/..', '/a/'],
    ['/a/.', '/a/'],
    ['/%61dmin', '/admin'],
    ['/a/%2e%2E/admin', '/admin'],
    ['/a\\..\\admin', '/admin'],
    ['/a%2fb', '/a%2fb'],
    ['/a%5cb', '/a%5cb'],
    ['//a//b', '//a//b'],
    ['/%2541', '/%2541'],
    ['/.hidden', '/.hidden'],
    ['/a/...', '/a/...'],
  ];
  for (const [raw, path] of cases) t.match(parseTarget(raw), { kind: 'target', path }, raw);
});

t.test('normalisations beyond the base, and none', async (t) => {
  const path = (raw: string, normalization: PathNormalization) => {
    const target = parseTarget(raw, normalization);
    return target.kind === 'target' ? target.path : target.kind;
  };
  t.equal(path('//a///b//', 'merge-slashes'), '/a/b/');
  t.equal(path('/a%2f/b', 'merge-slashes'), '/a%2f/b');
  t.equal(path('/a%2f/b%5Cc', 'decode-and-merge-slashes'), '/a/b/c');
  t.equal(path('/x/..%2Fadmin', 'decode-and-merge-slashes'), '/admin');
  t.equal(path('/a%252fb', 'decode-and-merge-slashes'), '/a%252fb');
  t.equal(path('/a/../b//c', 'none'), '/a/../b//c');
  t.equal(path('\\a', 'none'), 'rejected');
});

t.test('a second pass of a normalisation changes nothing', async () => {
  const piece = fc.constantFrom('/', '.', '..', 'a', '%2e', '%2f', '%2F', '\\', '%5c', '%25', '2f', '~');
  const kinds = fc.constantFrom<PathNormalization>('base', 'merge-slashes', 'decode-and-merge-slashes');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), kinds, (pieces, kind) => {
      const once = parseTarget(`/${pieces.join('')}`, kind);
      if (once.kind === 'rejected') return true;
      const twice = parseTarget(once.path, kind);
      return twice.kind === 'target' && twice.path === once.path && (kind === 'base' || !once.path.includes('//'));
    }),
  );
});

t.test('the query is kept as received', async (t) => {
  t.match(parseTarget('/a/../b?x=/../%41'), { path: '/b', query: '?x=/../%41' });
});

t.test('an absolute-form target names the authority', async (t) => {
  t.match(parseTarget('http://reviews:9080/x?y'), { path: '/x', query: '?y', authority: 'reviews:9080' });
  t.match(parseTarget('http://reviews'), { path: '/', authority: 'reviews' });
});

t.test('targets that two parsers could read differently are rejected', async (t) => {
  for (const raw of [
    '/a/..;/admin',
    '/%2e%2e;x=1/admin',
    '\\.;\\admin',
    '',
    '*',
    'a/b',
    '/a b',
    '/a\u0000',
    '/ä',
    '/a#b',
    '/a%00',
    '/a%',
    '/a%4',
    '/%%341',
    `/${'a'.repeat(20_000)}`,
  ]) {
    t.match(parseTarget(raw), { kind: 'rejected' }, JSON.stringify(raw.slice(0, 20)));
  }
});

t.test('normalising twice changes nothing and leaves no dot segment', async () => {
  const piece = fc.constantFrom('/', '.', '..', 'a', '%2e', '%2E', '%2f', '\\', '%5c', '%25', '41', '%41', '~', '%7e');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
      const raw = `/${pieces.join('')}`;
      const first = parseTarget(raw);
      if (first.kind !== 'target') return true;
      if (first.path !== normalisePath(raw)) return false;
      const second = parseTarget(first.path);
      const segments = first.path.split('/');
      return (
        second.kind === 'target' && second.path === first.path && !segments.includes('.') && !segments.includes('..')
      );
    }),
    { numRuns: 2000 },
  );
});

t.test('an authority has no user part, no path and no space', async (t) => {
  for (const good of ['a', 'a.b:80', '10.0.0.1:9080', '[fd00::1]:80']) t.ok(isAuthority(good), good);
  for (const bad of ['', 'u@a', 'a/b', 'a b', 'a:b', 'a,b', '[::1', 'a:123456']) t.notOk(isAuthority(bad), bad);
});
