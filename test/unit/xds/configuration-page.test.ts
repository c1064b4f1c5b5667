/** docs/configuration.md lists every code that reading and compiling a folder may report, as the code has them. */
import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { compileCodes } from '../../../src/compile/codes.ts';
import { yamlCodes } from '../../../src/config/yaml.ts';
import { folderCodes } from '../../../src/xds/codes.ts';

const root = path.resolve(import.meta.dirname, '../../..');

const codes: readonly (readonly [code: string, severity: string, meaning: string])[] = [
  ...Object.entries(yamlCodes).map(([code, meaning]) => [code, 'error', meaning] as const),
  ...Object.entries({ ...folderCodes, ...compileCodes }).map(
    ([code, { severity, meaning }]) => [code, severity, meaning] as const,
  ),
];

t.test('the table of codes is complete and says what the code says', async (t) => {
  const page = readFileSync(path.join(root, 'docs/configuration.md'), 'utf8');
  const table = /<!-- codes -->\n([\s\S]*?)<!-- \/codes -->/.exec(page)?.[1]?.trim().split('\n').slice(2);
  t.same(
    table,
    codes.map(([code, severity, meaning]) => `| \`${code}\` | ${severity} | ${meaning} |`),
  );
});

t.test('every code in the table is reported somewhere', async (t) => {
  const sources = globSync('src/{compile,xds,config}/*.ts', { cwd: root }).filter((file) => !file.endsWith('codes.ts'));
  const text = sources.map((file) => readFileSync(path.join(root, file), 'utf8')).join('\n');
  for (const [code] of codes) t.ok(text.includes(`'${code}'`), code);
});
