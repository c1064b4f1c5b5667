/** Metrics that the code has are listed in docs/telemetry.md, each once, and no page names any other. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

const root = path.resolve(import.meta.dirname, '../../..');
const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const names = /\b(?:ambit|istio|workload_manager)_[a-z]+(?:_[a-z]+)*\b/g;
/** Not metrics: a policy that istiod makes, families that are told as a whole, a filter of Envoy's. */
const others = new Set(['istio_converted_static_strict', 'istio_tcp', 'istio_requests', 'istio_stats']);

t.test('docs/telemetry.md lists the metrics that are counted, each once, and no others', async (t) => {
  const rows = read('docs/telemetry.md')
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  const listed = rows.flatMap((row) => [...(row.split('|')[1] ?? '').matchAll(names)].map(([name]) => name));
  const files = globSync('src/**/*.ts', { cwd: root, exclude: ['src/proto/gen/**', 'src/lab/**'] });
  const quoted = files.flatMap((file) => [...read(file).matchAll(/'([a-z_]+)'/g)].map((match) => match[1] ?? ''));
  const counted = new Set(quoted.filter((text) => text.match(names)?.[0] === text && !others.has(text)));
  t.ok(counted.size > 20, 'metrics were found');
  t.same([...counted].filter((name) => !listed.includes(name)).sort(), [], 'missing on the page');
  t.same(listed.filter((name) => !counted.has(name)).sort(), [], 'on the page alone');
  const pages = globSync('docs/**/*.md', { cwd: root });
  const named = new Set(pages.flatMap((page) => [...read(page).matchAll(names)].map(([name]) => name)));
  t.same([...named].filter((name) => !counted.has(name) && !others.has(name)).sort(), [], 'on some page alone');
  t.same(listed.filter((name, index) => listed.indexOf(name) !== index).sort(), [], 'on the page twice');
});
